from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structkd.errors import DataError
from structkd.labels import SCHEMES, UPOS, LabelMap, LabelSet, convert, legal_transitions, violations

TYPES = LabelSet.for_entities(["PER", "LOC"])


def between(source: LabelSet, names: dict[str, str | None] | None = None, **options: object) -> LabelMap:
    return LabelMap.between(source, TYPES, names, **options)  # type: ignore[arg-type]


def fine_sequences(label_map: LabelMap, length: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(source tags, target tags) of every fine sequence that the map allows."""
    legal = label_map.legal
    assert legal is not None
    found = []
    for path in itertools.product(range(len(label_map.fine)), repeat=length):
        pairs = itertools.pairwise(path)
        if legal.start[path[0]] and legal.end[path[-1]] and all(legal.transitions[i, j] for i, j in pairs):
            sides = zip(*(label_map.fine[i] for i in path), strict=True)
            source, target = sides
            found.append((tuple(label_map.source.decode(source)), tuple(label_map.target.decode(target))))
    return found


def test_equal_labels_are_an_identity_with_the_transitions_of_the_scheme() -> None:
    label_map = between(TYPES)
    assert label_map.is_identity
    legal, expected = label_map.legal, legal_transitions(TYPES)
    assert legal is not None
    assert expected is not None
    assert all(torch.equal(a, b) for a, b in zip(legal, expected, strict=True))


def test_equal_names_in_another_order_map_by_name() -> None:
    label_map = LabelMap.between(LabelSet(["V", "N", "D"]), LabelSet(["D", "N", "V"]))
    assert not label_map.is_identity
    assert label_map.source_ids == [2, 1, 0]
    assert label_map.target_ids == [0, 1, 2]
    assert label_map.legal is None
    assert label_map.convert(["V", "D"]) == ["V", "D"]


@pytest.mark.parametrize("source", SCHEMES)
@pytest.mark.parametrize("target", SCHEMES)
def test_every_legal_tagging_has_one_fine_sequence_that_says_the_same_in_the_other_scheme(
    source: str, target: str
) -> None:
    types = ["X", "Y"]
    label_map = LabelMap.between(LabelSet.for_entities(types, source), LabelSet.for_entities(types, target))
    pairs = fine_sequences(label_map, 3)
    legal = [tags for tags in itertools.product(label_map.source.tags, repeat=3) if not violations(tags, source)]
    assert sorted(own for own, _ in pairs) == sorted(legal)
    assert all(list(other) == convert(own, source, target) for own, other in pairs)
    assert not label_map.merges


def test_merging_a_scheme_needs_no_finer_tags_and_lifting_it_no_more_than_the_target_has() -> None:
    fine = LabelSet.for_entities(["X"], "BIOES")
    assert len(LabelMap.between(fine, LabelSet.for_entities(["X"])).fine) == 5
    assert len(LabelMap.between(LabelSet.for_entities(["X"]), fine).fine) == 5
    assert len(LabelMap.between(LabelSet.for_entities(["X"], "BILOU"), fine).fine) == 5


@given(st.sampled_from(SCHEMES), st.sampled_from(SCHEMES), st.integers(1, 3))
def test_merged_dropped_and_outside_types_agree_with_rewritten_spans(source: str, target: str, length: int) -> None:
    labels = LabelSet.for_entities(["PER", "GPE", "LOC", "MISC", "OTH"], source)
    names: dict[str, str | None] = {"GPE": "LOC", "MISC": None, "OTH": "O"}
    label_map = LabelMap.between(labels, LabelSet.for_entities(["PER", "LOC"], target), names)
    assert label_map.merges
    pairs = fine_sequences(label_map, length) if length < 3 else []
    assert all(label_map.convert(own) == list(other) for own, other in pairs)
    for own in itertools.islice(itertools.product(labels.tags, repeat=length), 0, 4000, 7):
        if not violations(own, source):
            expressible = not any(tag.endswith("MISC") for tag in own)
            assert (label_map.convert(own) is not None) == expressible
            assert length == 3 or (own in {first for first, _ in pairs}) == expressible


def test_tags_without_a_scheme_are_renamed_merged_and_dropped() -> None:
    source = LabelSet(["NN", "NNS", "VB", "FW"])
    names = {"NN": "NOUN", "NNS": "NOUN", "VB": "VERB", "FW": None}
    label_map = LabelMap.between(source, LabelSet(["VERB", "NOUN"]), names)
    assert label_map.fine == ((2, 0), (0, 1), (1, 1))
    assert label_map.convert(["NNS", "VB"]) == ["NOUN", "VERB"]
    assert label_map.convert(["FW", "VB"]) is None
    assert label_map.joins_potentials


def test_labels_that_say_nothing_can_be_named_and_obey_the_students_scheme() -> None:
    names = {"LABEL_0": "O", "LABEL_1": "B-X", "LABEL_2": "I-X"}
    label_map = LabelMap.between(LabelSet(list(names)), LabelSet.for_entities(["X"]), names)
    legal = label_map.legal
    assert legal is not None
    assert legal.start.tolist() == [True, True, False]
    assert legal.transitions[0].tolist() == [True, True, False]


def test_what_is_not_covered_is_named_with_what_to_write() -> None:
    with pytest.raises(DataError) as caught:
        between(LabelSet.for_entities(["PER", "ORG", "MISC"]), who="teacher conll/en")
    message = str(caught.value)
    assert message.startswith("teacher conll/en: its labels do not map to the student's")
    assert "the student lacks ORG, MISC" in message
    assert "label_map: {ORG: null, MISC: null}" in message
    assert "no tag of the teacher becomes LOC" in message
    assert "lacks: [LOC]" in message


def test_what_was_written_satisfies_it() -> None:
    source = LabelSet.for_entities(["PER", "ORG", "MISC"])
    assert between(source, {"ORG": None, "MISC": None}, lacks=["LOC"]).target_ids == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "lacks", "message"),
    [
        ({"MISC": None}, [], "label_map names MISC, but the teacher has the entity types PER, LOC"),
        ({"LOC": "GPE"}, [], "label_map says LOC: GPE, but the student has the entity types PER, LOC, O"),
        ({"LOC": None}, [], "no tag of the teacher becomes LOC"),
        ({}, ["PER"], "lacks names PER, which the student does not have or the teacher gives"),
        ({}, ["ORG"], "lacks names ORG"),
        ({"B-LOC": "LOC"}, [], "label_map names B-LOC"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(names: dict[str, str | None], lacks: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        between(TYPES, names, lacks=lacks)


def test_upos_in_another_order_never_matches_by_index() -> None:
    shuffled = LabelSet(UPOS[::-1])
    label_map = LabelMap.between(shuffled, LabelSet(UPOS))
    assert [shuffled.tags[i] for i in label_map.source_ids] == list(UPOS)
