from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.errors import DataError
from structkd.labels import SCHEMES, convert, repair, spans, violations
from structkd.labels.schemes import may_follow, prefixes

KINDS = ("PER", "LOC-x")


def vocabulary(scheme: str) -> list[str]:
    return ["O", *(f"{prefix}-{kind}" for kind in KINDS for prefix in prefixes(scheme))]


@st.composite
def any_tags(draw: st.DrawFn) -> tuple[str, list[str]]:
    scheme = draw(st.sampled_from(SCHEMES))
    return scheme, draw(st.lists(st.sampled_from(vocabulary(scheme)), max_size=9))


@pytest.mark.parametrize(
    ("scheme", "written"),
    [
        ("IOB1", "I-PER I-PER B-PER I-LOC O I-LOC"),
        ("IOB2", "B-PER I-PER B-PER B-LOC O B-LOC"),
        ("BIOES", "B-PER E-PER S-PER S-LOC O S-LOC"),
        ("BILOU", "B-PER L-PER U-PER U-LOC O U-LOC"),
    ],
)
def test_the_same_entities_are_written_as_the_schemes_define(scheme: str, written: str) -> None:
    assert convert(["B-PER", "I-PER", "B-PER", "B-LOC", "O", "B-LOC"], "IOB2", scheme) == written.split()
    assert spans(written.split(), scheme) == [("PER", 0, 2), ("PER", 2, 3), ("LOC", 3, 4), ("LOC", 5, 6)]
    assert violations(written.split(), scheme) == []


@pytest.mark.parametrize(
    ("scheme", "broken", "repaired", "where"),
    [
        ("IOB2", "O I-PER I-PER", "O B-PER I-PER", [1]),
        ("IOB2", "B-PER I-LOC O", "B-PER B-LOC O", [1]),
        ("IOB1", "B-PER O I-LOC B-PER", "I-PER O I-LOC I-PER", [0, 3]),
        ("BIOES", "B-PER O", "S-PER O", [1]),
        ("BIOES", "I-PER E-PER I-LOC", "B-PER E-PER S-LOC", [0, 2]),
        ("BIOES", "B-PER I-PER", "B-PER E-PER", [1]),
        ("BILOU", "B-PER U-PER L-PER", "U-PER U-PER U-PER", [1, 2]),
    ],
)
def test_broken_tags_become_the_entities_that_conlleval_would_read(
    scheme: str, broken: str, repaired: str, where: list[int]
) -> None:
    tags, changed = repair(broken.split(), scheme)
    assert tags == repaired.split()
    assert changed == sum(a != b for a, b in zip(broken.split(), repaired.split(), strict=True))
    assert violations(broken.split(), scheme) == where


@given(any_tags())
def test_repair_changes_nothing_exactly_where_there_is_no_violation(case: tuple[str, list[str]]) -> None:
    scheme, tags = case
    repaired, changed = repair(tags, scheme)
    assert (changed == 0) == (violations(tags, scheme) == [])
    assert violations(repaired, scheme) == []
    assert spans(repaired, scheme) == spans(tags, scheme)


@given(any_tags(), st.sampled_from(SCHEMES))
def test_conversion_there_and_back_keeps_every_entity(case: tuple[str, list[str]], target: str) -> None:
    scheme, tags = case
    there = convert(tags, scheme, target)
    assert spans(there, target) == spans(tags, scheme)
    assert convert(there, target, scheme) == repair(tags, scheme)[0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_legal_sequences_are_exactly_the_images_of_entities(scheme: str) -> None:
    for tags in itertools.product(vocabulary(scheme), repeat=3):
        steps = [None, *tags, None]
        legal = all(may_follow(a, b, scheme) for a, b in itertools.pairwise(steps))
        assert legal == (convert(tags, scheme, scheme) == list(tags))


@pytest.mark.parametrize("tag", ["PER", "X-PER", "E-PER", "B-", "", "o", "-"])
def test_a_tag_foreign_to_the_scheme_is_named(tag: str) -> None:
    with pytest.raises(DataError, match="IOB2: expected O, B-TYPE, I-TYPE") as error:
        spans(["O", tag], "IOB2")
    assert repr(tag) in str(error.value)


def test_an_unknown_scheme_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"'BIO' is unknown: expected one of IOB1, IOB2, BIOES, BILOU"):
        repair(["B-X"], "BIO")
