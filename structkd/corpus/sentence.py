"""The sentence, the one thing that readers make and every other room consumes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from structkd.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words of one sentence, with a tag each or without tags.

    Attributes:
        words: the words as written, at least one; a word may contain blanks.
        tags: one tag a word, or None for unlabelled text.
        language: BCP-47 code.
        id: unique within the file that the sentence was read from.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    language: str
    id: str

    def __len__(self) -> int:
        return len(self.words)

    def without_tags(self) -> Sentence:
        """The same sentence as unlabelled text."""
        return replace(self, tags=None)


def token_fingerprint(words: Sequence[str]) -> str:
    """16 hex digits that stand for exactly these words in this order."""
    # Each word is preceded by its length, so that moving a blank between two words shows.
    written = "".join(f"{len(word)}:{word}" for word in words)
    return hashlib.blake2b(written.encode("utf-8"), digest_size=8).hexdigest()


def evenly_spaced(items: Sequence[T], n: int) -> tuple[list[T], list[T]]:
    """The `n` items at positions floor(i * N / n), and the rest; both in their order.

    A corpus is ordered by source and genre, so its first n sentences are not a fair part of it.

    Args:
        items: N items.
        n: how many to take; N or more takes them all.

    Raises:
        UsageError: `n` is negative.
    """
    if n < 0:
        raise UsageError(f"cannot take {n} sentences: expected 0 or more")
    if n >= len(items):
        return list(items), []
    taken = {i * len(items) // n for i in range(n)}
    return [items[i] for i in sorted(taken)], [item for i, item in enumerate(items) if i not in taken]
