"""Label sets: the tags of a task, in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from structkd.errors import DataError
from structkd.labels.schemes import prefixes, split_tag

UPOS: tuple[str, ...] = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
"""The 17 universal parts of speech, https://universaldependencies.org/u/pos/."""


@dataclass(frozen=True)
class LabelSet:
    """The tags of a task.

    Args:
        tags: the tags; a tag's id is its position.
        scheme: "IOB1", "IOB2", "BIOES" or "BILOU" for entities; None for tags that stand for themselves.

    Raises:
        DataError: no tag, a tag given twice, or a tag that the scheme does not have.
    """

    tags: tuple[str, ...]
    scheme: str | None = None

    def __init__(self, tags: Sequence[str], scheme: str | None = None) -> None:
        if isinstance(tags, str) or not tags:
            raise DataError(f"a label set needs a list of at least one tag, got {tags!r}")
        repeated = sorted({tag for tag in tags if list(tags).count(tag) > 1})
        if repeated:
            raise DataError(f"a label set names each tag once; given more than once: {', '.join(repeated)}")
        if scheme is not None:
            for tag in tags:
                split_tag(tag, scheme)
        object.__setattr__(self, "tags", tuple(tags))
        object.__setattr__(self, "scheme", scheme)

    @classmethod
    def for_entities(cls, types: Sequence[str], scheme: str = "IOB2") -> LabelSet:
        """`O`, then the tags of each entity type in turn: `B-PER`, `I-PER`, `B-LOC`, ... for IOB2."""
        return cls(["O", *(f"{prefix}-{kind}" for kind in types for prefix in prefixes(scheme))], scheme)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> LabelSet:
        """The inverse of `to_dict`."""
        return cls(value["tags"], value["scheme"])

    def to_dict(self) -> dict[str, Any]:
        """The label set as plain JSON."""
        return {"tags": list(self.tags), "scheme": self.scheme}

    @cached_property
    def _index(self) -> dict[str, int]:
        return {tag: i for i, tag in enumerate(self.tags)}

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, tag: object) -> bool:
        return tag in self._index

    def id(self, tag: str) -> int:
        """The id of a tag.

        Raises:
            DataError: the tag is not in the label set.
        """
        return self.ids([tag])[0]

    def ids(self, tags: Iterable[str]) -> list[int]:
        """The ids of some tags.

        Raises:
            DataError: names the tags that are not in the label set, and those that are.
        """
        tags = list(tags)
        index = self._index
        try:
            return [index[tag] for tag in tags]
        except KeyError:
            unknown = ", ".join(dict.fromkeys(repr(tag) for tag in tags if tag not in index))
            raise DataError(f"not in the label set: {unknown}; it has {', '.join(self.tags)}") from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tags of some ids.

        Raises:
            DataError: an id is outside 0..len - 1.
        """
        decoded = []
        for i in ids:
            if not 0 <= i < len(self.tags):
                raise DataError(f"id {i} is no tag of this label set: expected 0..{len(self.tags) - 1}")
            decoded.append(self.tags[i])
        return decoded
