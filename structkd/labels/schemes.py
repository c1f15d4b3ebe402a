"""Schemes that write entities as one tag a word: IOB1, IOB2, BIOES and BILOU.

A tag is `O` or `<prefix>-<type>`. Every function here accepts sequences that break the scheme, as annotated corpora do,
and reads them as conlleval does: a tag that cannot continue the entity before it starts a new one.

References:
    Ramshaw and Marcus 1995, https://aclanthology.org/W95-0107 (IOB1);
    Tjong Kim Sang and Veenstra 1999, https://aclanthology.org/E99-1023 (IOB2 and variants);
    Ratinov and Roth 2009, https://aclanthology.org/W09-1119 (BILOU).
"""

from __future__ import annotations

from collections.abc import Sequence

from structkd.errors import DataError

Span = tuple[str, int, int]

# scheme -> its prefixes as (begin, inside, end, single); IOB schemes have no mark for the end of an entity.
_MARKS = {
    "IOB1": ("B", "I", "I", "I"),
    "IOB2": ("B", "I", "I", "B"),
    "BIOES": ("B", "I", "E", "S"),
    "BILOU": ("B", "I", "L", "U"),
}
SCHEMES: tuple[str, ...] = tuple(_MARKS)
_CLOSING = ("BIOES", "BILOU")
_OUTSIDE = ("O", "")


def prefixes(scheme: str) -> tuple[str, ...]:
    """The prefixes of a scheme, each once, in the order begin, inside, end, single."""
    return tuple(dict.fromkeys(_marks(scheme)))


def split_tag(tag: str, scheme: str) -> tuple[str, str]:
    """Prefix and entity type of a tag; `("O", "")` outside entities.

    Raises:
        DataError: the tag is neither `O` nor a prefix of the scheme, a hyphen and a type.
    """
    if tag == "O":
        return _OUTSIDE
    prefix, hyphen, kind = tag.partition("-")
    if not hyphen or not kind or prefix not in _marks(scheme):
        expected = ", ".join(f"{mark}-TYPE" for mark in prefixes(scheme))
        raise DataError(f"tag {tag!r} is not a tag of the scheme {scheme}: expected O, {expected}")
    return prefix, kind


def may_follow(previous: str | None, tag: str | None, scheme: str) -> bool:
    """True if `tag` may stand right after `previous`; None stands for the start or the end of the sentence."""
    before = _OUTSIDE if previous is None else split_tag(previous, scheme)
    after = _OUTSIDE if tag is None else split_tag(tag, scheme)
    return _legal(before, after, scheme)


def continues(previous: str, tag: str, scheme: str) -> bool:
    """True if `tag`, which may follow `previous`, goes on with the entity that `previous` is in."""
    begin, inside, _, _ = _marks(scheme)
    before, after = split_tag(previous, scheme), split_tag(tag, scheme)
    if "O" in (before[0], after[0]) or before[1] != after[1]:
        return False
    return before[0] in (begin, inside) if scheme in _CLOSING else after[0] == inside


def violations(tags: Sequence[str], scheme: str) -> list[int]:
    """Positions at which a tag may not follow the one before it, or leaves an entity open at the end of the sentence.

    The list is empty exactly when `repair` changes nothing.
    """
    parsed = [split_tag(tag, scheme) for tag in tags]
    bad = [i for i, tag in enumerate(parsed) if not _legal(parsed[i - 1] if i else _OUTSIDE, tag, scheme)]
    last = len(parsed) - 1
    if parsed and last not in bad and not _legal(parsed[last], _OUTSIDE, scheme):
        bad.append(last)
    return bad


def spans(tags: Sequence[str], scheme: str) -> list[Span]:
    """Entities as `(type, start, end)`, `end` exclusive, in order of their start."""
    begin, _, end, single = _marks(scheme)
    closes = scheme in _CLOSING
    found: list[Span] = []
    start, kind = -1, ""
    for i, tag in enumerate(tags):
        prefix, tag_kind = split_tag(tag, scheme)
        if start >= 0 and (tag_kind != kind or prefix == begin or (closes and prefix == single)):
            found.append((kind, start, i))
            start = -1
        if start < 0 and prefix != "O":
            start, kind = i, tag_kind
        if closes and start >= 0 and prefix in (end, single):
            found.append((kind, start, i + 1))
            start = -1
    if start >= 0:
        found.append((kind, start, len(tags)))
    return found


def convert(tags: Sequence[str], source: str, target: str) -> list[str]:
    """The same entities written in another scheme (and in legal form, where the source was not)."""
    return write_spans(spans(tags, source), len(tags), target)


def write_spans(entities: Sequence[Span], length: int, scheme: str) -> list[str]:
    """One tag a word for entities that do not overlap, in order of their start: the inverse of `spans`."""
    begin, inside, end, single = _marks(scheme)
    written = ["O"] * length
    previous: Span = ("", -1, -1)
    for kind, start, stop in entities:
        if scheme == "IOB1":
            # B only separates an entity from an adjacent one of its own type.
            first = begin if previous[0] == kind and previous[2] == start else inside
            written[start:stop] = [f"{first}-{kind}", *[f"{inside}-{kind}"] * (stop - start - 1)]
        elif stop - start == 1:
            written[start] = f"{single}-{kind}"
        else:
            written[start:stop] = [f"{begin}-{kind}", *[f"{inside}-{kind}"] * (stop - start - 2), f"{end}-{kind}"]
        previous = (kind, start, stop)
    return written


def repair(tags: Sequence[str], scheme: str) -> tuple[list[str], int]:
    """The legal tags with the same entities, and how many tags were changed."""
    legal = convert(tags, scheme, scheme)
    return legal, sum(old != new for old, new in zip(tags, legal, strict=True))


def _marks(scheme: str) -> tuple[str, str, str, str]:
    if scheme not in _MARKS:
        raise DataError(f"scheme {scheme!r} is unknown: expected one of {', '.join(SCHEMES)}")
    return _MARKS[scheme]


def _legal(before: tuple[str, str], after: tuple[str, str], scheme: str) -> bool:
    begin, inside, end, _ = _marks(scheme)
    same_kind = before[1] == after[1]
    if scheme == "IOB1":
        return after[0] != begin or (same_kind and before[0] != "O")
    if scheme == "IOB2":
        return after[0] != inside or same_kind
    if before[0] in (begin, inside):
        return after[0] in (inside, end) and same_kind
    return after[0] not in (inside, end)
