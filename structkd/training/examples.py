"""What a tagger trains on: words, gold tags where there are some, a teacher's knowledge where there is some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from structkd.knowledge import Knowledge, collate
from structkd.objective import Objective, nll, prepare
from structkd.tagger import Batcher

UNKNOWN = -1  # tag of padding, and of every word of a sentence without gold tags


class Example(NamedTuple):
    """One sentence.

    tags: ids of the gold tags; None for a sentence without.
    knowledge: reads the teacher's knowledge when a batch needs it; None for a sentence without.
    allowed: [n, C] bool, the possible tags of a sentence whose tags are known in part; then `tags` is None.
    """

    words: Sequence[str]
    tags: Sequence[int] | None
    language: str
    id: str
    knowledge: Callable[[], Knowledge] | None = None
    allowed: np.ndarray | None = None


class Examples(Dataset[Example]):
    """A list of examples as a PyTorch data set."""

    def __init__(self, items: Sequence[Example]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        return self.items[index]


class Collator:
    """Examples -> a batch: `inputs` of the model, `tags` [B, T], the `lesson` of an objective, ids of the sentences.

    `allowed` [B, T, C] is there where tags of at least one sentence are known in part; True for all others.
    """

    def __init__(self, batcher: Batcher, num_tags: int, objective: Objective | None = None) -> None:
        self.batcher = batcher
        self.num_tags = num_tags
        self.objective = objective or nll()

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        inputs = self.batcher([e.words for e in examples], [e.language for e in examples])
        mask = inputs["mask"]
        batch: dict[str, Any] = {
            "inputs": inputs,
            "tags": padded_tags([example.tags for example in examples], mask.shape[1]),
            "ids": [f"{example.language}:{example.id}" for example in examples],
        }
        if any(example.allowed is not None for example in examples):
            allowed = torch.ones(*mask.shape, self.num_tags, dtype=torch.bool)
            for row, example in enumerate(examples):
                if example.allowed is not None:
                    allowed[row, : len(example.allowed)] = torch.from_numpy(example.allowed)
            batch["allowed"] = allowed
        if self.objective.needs_knowledge:
            items = [example.knowledge() if example.knowledge else None for example in examples]
            batch["lesson"] = prepare(self.objective, collate(items, mask.shape[1], self.num_tags), mask.sum(1))
        return batch


def padded_tags(rows: Sequence[Sequence[int] | None], length: int) -> Tensor:
    """Tags [B, length], `UNKNOWN` beyond each sentence and all along a sentence without tags."""
    tags = torch.full((len(rows), length), UNKNOWN)
    for row, values in enumerate(rows):
        if values is not None:
            tags[row, : len(values)] = torch.as_tensor(values)
    return tags
