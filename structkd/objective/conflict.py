"""Why a loss is infinite: which tag or pair of tags the targets ask for and the student forbids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.knowledge import Targets


def conflict(student: LinearChainCRF, targets: Targets, row: int, tags: Sequence[str]) -> str | None:
    """What the targets of a sentence give mass to and the student forbids, in words; None if there is nothing.

    Args:
        row: of the sentence in the batch.
        tags: names of the tags, in the order of their ids.
    """
    last = int(student.lengths[row]) - 1
    marginals, counts = targets.marginals[row], targets.transition_counts[row]
    pair = _first(counts, _of_row(student.transitions, row, 2))
    if pair is not None:
        return f"{tags[pair[1]]} after {tags[pair[0]]}"
    start = _first(marginals[0], _of_row(student.start_transitions, row, 1))
    if start is not None:
        return f"{tags[start[0]]} at the first word"
    end = _first(marginals[last], _of_row(student.end_transitions, row, 1))
    if end is not None:
        return f"{tags[end[0]]} at the last word"
    word = _first(marginals[: last + 1], student.emissions[row, : last + 1])
    return None if word is None else f"{tags[word[1]]} at word {word[0] + 1}"


def _of_row(potential: Tensor, row: int, dims: int) -> Tensor:
    return potential if potential.dim() == dims else potential[row]


def _first(mass: Tensor, potential: Tensor) -> list[int] | None:
    """Index of the first cell that has mass where it may not."""
    found = ((mass > 0) & torch.isneginf(potential)).nonzero()
    return found[0].tolist() if len(found) else None
