"""Label maps: how a teacher's tags are written in a student's.

A map never works by index. It pairs tags of both sides to *fine* tags, over which the teacher's chain is asked
(METHODS section 2, "Targets stay consistent" and "Combining teachers"):

- lift: each fine tag takes the potentials of its source tag;
- condition: fine tags that may not follow each other on either side are forbidden before forward-backward, and a source
  tag that the student lacks (mapped to None) has no fine tag at all, which forbids it;
- merge: each fine tag stands for one target tag, so expectations over fine tags add up to those over target tags.

A teacher's legal tag sequence has exactly one fine sequence, so nothing is counted twice. Renaming and reordering only
permute tags; BIOES -> IOB2 only merges; IOB2 -> BIOES only lifts; IOB1 needs both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from structkd.errors import DataError
from structkd.labels.label_set import LabelSet
from structkd.labels.schemes import continues, may_follow, spans, split_tag, write_spans

if TYPE_CHECKING:
    from structkd.labels.transitions import LegalTransitions

OUTSIDE = "O"


@dataclass(frozen=True)
class LabelMap:
    """From the tags of `source` (a teacher) to those of `target` (the student).

    Attributes:
        source: labels of the teacher.
        target: labels of the student.
        names: what becomes of each name of the source, None for a name that is dropped. Names are entity types where
            both sides have a scheme, and whole tags otherwise.
        fine: (source id, target id) of each fine tag, ordered by target id.
    """

    source: LabelSet
    target: LabelSet
    names: Mapping[str, str | None]
    fine: tuple[tuple[int, int], ...]

    @classmethod
    def between(
        cls,
        source: LabelSet,
        target: LabelSet,
        names: Mapping[str, str | None] | None = None,
        *,
        lacks: Sequence[str] = (),
        who: str = "teacher",
    ) -> LabelMap:
        """The map between two label sets; names that both have are kept, everything else has to be said.

        Args:
            source: labels of the teacher.
            target: labels of the student.
            names: name of the source -> name of the target to rename or merge it to (`O` puts entities outside), or
                None to drop it: the teacher is then asked given that it does not occur.
            lacks: names of the target that the teacher never gives.
            who: the teacher, for messages.

        Raises:
            DataError: lists every name that is not covered or not known, and what to write on the teacher's card.
        """
        typed = source.scheme is not None and target.scheme is not None
        given = dict(names or {})
        own, wanted = _names(source, typed), _names(target, typed)
        resolved = {name: given.get(name, name) for name in own}
        _check(resolved, given, own, wanted, tuple(lacks), typed, who)
        if typed:
            resolved[OUTSIDE] = OUTSIDE
        found = cls(source, target, resolved, _pairs(source, target, resolved, typed))
        return cls(source, target, resolved, found._reachable())

    @property
    def is_identity(self) -> bool:
        """Whether both sides have the same tags in the same order, and every tag stands for itself."""
        return self.source == self.target and self.fine == tuple((i, i) for i in range(len(self.target)))

    @property
    def merges(self) -> bool:
        """Whether different taggings of the teacher become one: then the entropy of the result is not known."""
        kept = [name for name in self.names.values() if name is not None]
        return len(set(kept)) < len(kept)

    @property
    def joins_potentials(self) -> bool:
        """Whether a target tag has several fine tags, so that there is no chain over the target tags."""
        return len({target for _, target in self.fine}) < len(self.fine)

    @property
    def source_ids(self) -> list[int]:
        """[F] source tag of each fine tag."""
        return [source for source, _ in self.fine]

    @property
    def target_ids(self) -> list[int]:
        """[F] target tag of each fine tag: where the ones of the merge matrix M [F, C] are."""
        return [target for _, target in self.fine]

    @cached_property
    def legal(self) -> LegalTransitions | None:
        """Which fine tags may follow each other; None where all may."""
        import torch

        from structkd.labels.transitions import LegalTransitions

        if self.source.scheme is None and self.target.scheme is None:
            return None
        ids = range(len(self.fine))
        return LegalTransitions(
            start=torch.tensor([self._may_follow(None, i) for i in ids], dtype=torch.bool),
            transitions=torch.tensor([[self._may_follow(i, j) for j in ids] for i in ids], dtype=torch.bool),
            end=torch.tensor([self._may_follow(i, None) for i in ids], dtype=torch.bool),
        )

    def convert(self, tags: Sequence[str]) -> list[str] | None:
        """A sequence of source tags in target tags; None if it holds a tag that is dropped.

        Raises:
            DataError: a tag is not one of the source's.
        """
        self.source.ids(tags)
        if self.source.scheme is None or self.target.scheme is None:
            named = [self.names[tag] for tag in tags]
            return None if None in named else [tag for tag in named if tag is not None]
        entities = [(self.names[kind], start, end) for kind, start, end in spans(tags, self.source.scheme)]
        if any(kind is None for kind, _, _ in entities):
            return None
        inside = [(kind, start, end) for kind, start, end in entities if kind is not None and kind != OUTSIDE]
        return write_spans(inside, len(tags), self.target.scheme)

    def _may_follow(self, i: int | None, j: int | None) -> bool:
        before = (None, None) if i is None else self._tags(i)
        after = (None, None) if j is None else self._tags(j)
        sides = ((self.source.scheme, before[0], after[0]), (self.target.scheme, before[1], after[1]))
        if not all(scheme is None or may_follow(a, b, scheme) for scheme, a, b in sides):
            return False
        if None in (*before, *after) or self.source.scheme is None or self.target.scheme is None:
            return True
        # Both sides must agree on where entities end, unless the student does not see this entity.
        goes_on = continues(str(before[0]), str(after[0]), self.source.scheme) and after[1] != OUTSIDE
        return goes_on == continues(str(before[1]), str(after[1]), self.target.scheme)

    def _tags(self, i: int) -> tuple[str | None, str | None]:
        source, target = self.fine[i]
        return self.source.tags[source], self.target.tags[target]

    def _reachable(self) -> tuple[tuple[int, int], ...]:
        """The fine tags that occur in at least one legal sequence."""
        ids = range(len(self.fine))
        after = {i: [j for j in ids if self._may_follow(i, j)] for i in ids}
        before = {j: [i for i in ids if j in after[i]] for j in ids}
        forward = _closure([i for i in ids if self._may_follow(None, i)], after)
        backward = _closure([i for i in ids if self._may_follow(i, None)], before)
        return tuple(self.fine[i] for i in ids if i in forward and i in backward)


def _names(labels: LabelSet, typed: bool) -> list[str]:
    """Entity types, or whole tags, in the order of the label set."""
    if not typed or labels.scheme is None:
        return list(labels.tags)
    return list(dict.fromkeys(split_tag(tag, labels.scheme)[1] for tag in labels.tags if tag != OUTSIDE))


def _pairs(
    source: LabelSet, target: LabelSet, names: Mapping[str, str | None], typed: bool
) -> tuple[tuple[int, int], ...]:
    def name(labels: LabelSet, tag: str) -> str:
        return tag if not typed or labels.scheme is None else split_tag(tag, labels.scheme)[1] or OUTSIDE

    return tuple(
        (s, t)
        for t, wanted in enumerate(target.tags)
        for s, tag in enumerate(source.tags)
        if names[name(source, tag)] == name(target, wanted)
    )


def _check(
    resolved: Mapping[str, str | None],
    given: Mapping[str, str | None],
    own: list[str],
    wanted: list[str],
    lacks: tuple[str, ...],
    typed: bool,
    who: str,
) -> None:
    targets = [*wanted, OUTSIDE] if typed else wanted
    what = "entity types" if typed else "tags"
    faults, card = [], []
    foreign = [name for name in own if name not in given and name not in targets]
    if foreign:
        faults.append(f"the student lacks {', '.join(foreign)}")
        outside = ", O puts it outside" if typed else ""
        card.append(
            f"label_map: {{{', '.join(f'{name}: null' for name in foreign)}}}   "
            f"# null: asked given that it does not occur; or a name of the student's to merge it into{outside}"
        )
    if unknown := [name for name in given if name not in own]:
        faults.append(f"label_map names {', '.join(unknown)}, but the teacher has the {what} {', '.join(own)}")
    if unknown := [f"{name}: {value}" for name, value in given.items() if value is not None and value not in targets]:
        faults.append(f"label_map says {', '.join(unknown)}, but the student has the {what} {', '.join(targets)}")
    reached = set(resolved.values())
    missing = [name for name in wanted if name not in reached and name not in lacks]
    if missing:
        faults.append(f"no tag of the teacher becomes {', '.join(missing)}")
        card.append(f"lacks: [{', '.join(missing)}]   # the teacher never gives it")
    if unknown := [name for name in lacks if name not in wanted or name in reached]:
        faults.append(f"lacks names {', '.join(unknown)}, which the student does not have or the teacher gives")
    if faults:
        told = "".join(f"\n  {fault}" for fault in faults)
        advice = "\nwrite on its card:" + "".join(f"\n  {line}" for line in card) if card else ""
        raise DataError(f"{who}: its labels do not map to the student's:{told}{advice}")


def _closure(start: list[int], neighbours: Mapping[int, list[int]]) -> set[int]:
    found, waiting = set(start), list(start)
    while waiting:
        new = [i for i in neighbours[waiting.pop()] if i not in found]
        found.update(new)
        waiting += new
    return found
