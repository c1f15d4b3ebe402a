"""Counts: equal to seqeval, exact in JSON, loud about taggings that do not match."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2, Entities

from structkd.errors import DataError, IntegrityError, UsageError
from structkd.evaluation import count, counts_from_json, counts_to_json, strict_spans
from structkd.evaluation.bootstrap import percentage

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-my-type", "I-my-type"]
taggings = st.lists(st.lists(st.sampled_from(TAGS), max_size=9), min_size=1, max_size=5)
pairs = taggings.flatmap(
    lambda gold: st.tuples(
        st.just(gold), st.tuples(*[st.lists(st.sampled_from(TAGS), min_size=len(s), max_size=len(s)) for s in gold])
    )
)


@pytest.mark.parametrize(
    "tags",
    [
        ["I-PER", "I-PER", "O"],
        ["B-PER", "I-LOC", "I-LOC"],
        ["B-PER", "I-LOC", "I-PER"],
        ["B-PER", "I-PER", "B-PER", "I-PER"],
        ["O", "I-PER", "B-PER"],
        ["B-PER", "B-LOC", "I-PER", "I-LOC"],
        ["B-PER"],
        ["I-PER"],
        [],
    ],
)
def test_strict_spans_equal_seqeval_on_adversarial_tags(tags: list[str]) -> None:
    expected = [entity.to_tuple()[1:] for entity in Entities([tags], IOB2).entities[0]]
    assert strict_spans(tags) == expected


@given(taggings)
def test_strict_spans_equal_seqeval_on_random_tags(tagging: list[list[str]]) -> None:
    expected = Entities(tagging, IOB2).entities
    assert [strict_spans(tags) for tags in tagging] == [[e.to_tuple()[1:] for e in found] for found in expected]


@given(pairs)
def test_precision_recall_and_f1_equal_seqeval_strict(pair: tuple[list[list[str]], tuple[list[str], ...]]) -> None:
    gold, predicted = pair[0], list(pair[1])
    counts = count(gold, predicted, task="ner")
    totals = counts.overall.sum(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where it divides by zero
        expected = precision_recall_fscore_support(gold, predicted, average="micro", scheme=IOB2)
        report = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True)
    assert [percentage(m, totals) / 100 for m in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    by_type = counts.by_label.sum(axis=0)
    named = {name for name in report if not name.endswith(" avg")}
    assert set(counts.labels) == named
    for label, sums in zip(counts.labels, by_type, strict=True):
        assert percentage("f1", sums) / 100 == pytest.approx(report[label]["f1-score"])
        assert sums[2] == report[label]["support"]


def test_one_sentence_is_counted_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
    predicted = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-LOC"]]
    counts = count(gold, predicted, task="ner")
    assert counts.overall.tolist() == [[1, 2, 2], [1, 2, 1]]
    assert counts.labels == ("LOC", "PER")
    assert counts.by_label.tolist() == [[[1, 1, 1], [0, 1, 1]], [[1, 2, 1], [0, 0, 0]]]


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIOES", ["B-PER", "E-PER", "O", "S-LOC"]),
        ("BILOU", ["B-PER", "L-PER", "O", "U-LOC"]),
        ("IOB1", ["I-PER", "I-PER", "O", "I-LOC"]),
    ],
)
def test_other_schemes_give_the_same_counts(scheme: str, tags: list[str]) -> None:
    counts = count([tags], [tags], task="ner", scheme=scheme)
    assert strict_spans(tags, scheme) == [("PER", 0, 2), ("LOC", 3, 4)]
    assert counts.overall.tolist() == [[2, 2, 2]]


def test_pos_accuracy_counts_words() -> None:
    counts = count([["NOUN", "VERB", "X"], ["X"]], [["NOUN", "NOUN", "X"], ["X"]], task="pos")
    assert counts.overall.tolist() == [[2, 3, 3], [1, 1, 1]]
    assert counts.by_label.sum(axis=0).tolist() == [[1, 2, 1], [0, 0, 1], [2, 2, 2]]


def test_familiar_and_new_words_add_up_to_all_words() -> None:
    gold, predicted = [["A", "B"], ["A", "A"]], [["A", "A"], ["B", "A"]]
    counts = count(gold, predicted, task="pos", words=[["the", "cat"], ["dog", "The"]], training_words={"the", "dog"})
    assert counts.subsets["known-words"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert counts.subsets["unknown-words"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert np.array_equal(counts.subsets["known-words"] + counts.subsets["unknown-words"], counts.overall)


def test_taggings_of_other_shape_are_refused_by_sentence() -> None:
    with pytest.raises(DataError, match="sentence 2 has 1 words, gold has 2"):
        count([["A"], ["A", "B"]], [["A"], ["A"]], task="pos")
    with pytest.raises(DataError, match="1 sentences, gold has 2"):
        count([["A"], ["A"]], [["A"]], task="pos")


def test_wrong_calls_and_foreign_tags_are_refused() -> None:
    with pytest.raises(UsageError, match="expected one of pos, ner"):
        count([["A"]], [["A"]], task="parsing")
    with pytest.raises(UsageError, match="pass words="):
        count([["A"]], [["A"]], task="pos", training_words={"a"})
    with pytest.raises(DataError, match="E-PER"):
        count([["E-PER"]], [["O"]], task="ner")


@given(pairs)
def test_json_gives_the_same_counts_back(pair: tuple[list[list[str]], tuple[list[str], ...]]) -> None:
    words = [["a"] * len(sentence) for sentence in pair[0]]
    for task in ("ner", "pos"):
        counts = count(pair[0], list(pair[1]), task=task, words=words, training_words={"a"})
        again = counts_from_json(json.loads(json.dumps(counts_to_json(counts))))
        assert again.task == counts.task
        assert again.labels == counts.labels
        assert np.array_equal(again.overall, counts.overall)
        assert np.array_equal(again.by_label, counts.by_label)
        assert again.subsets.keys() == counts.subsets.keys()
        assert all(np.array_equal(again.subsets[name], counts.subsets[name]) for name in counts.subsets)


@pytest.mark.parametrize("key", ["overall", "by_label", "labels", "task"])
def test_damaged_json_is_refused(key: str) -> None:
    value = counts_to_json(count([["A", "B"]], [["A", "A"]], task="pos"))
    with pytest.raises(IntegrityError, match="evaluate the model again"):
        counts_from_json({name: part for name, part in value.items() if name != key})
    with pytest.raises(IntegrityError, match="evaluate the model again"):
        counts_from_json(value | {key: value[key][:-1]})
