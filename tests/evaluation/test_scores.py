"""Score rows: the contract's fields, the right numbers, intervals that mean something."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from structkd.errors import IntegrityError
from structkd.evaluation import ScoreRow, count, score_counts
from structkd.evaluation.bootstrap import interval, percentage, resampled_sums

FACTS: dict[str, Any] = {
    "model": "models/structural/seed-1",
    "role": "student",
    "method": "structural",
    "seed": 1,
    "language": "en",
    "corpus": "Toy",
    "split": "test",
    "seen": True,
}


def _pos(sentences: int = 200) -> tuple[list[list[str]], list[list[str]]]:
    rng = np.random.default_rng(3)
    gold = [["NOUN", "VERB"] * 5 for _ in range(sentences)]
    return gold, [[tag if rng.random() < 0.8 else "X" for tag in tags] for tags in gold]


def test_rows_have_exactly_the_fields_of_the_contract() -> None:
    row = score_counts(count([["A"]], [["A"]], task="pos"), **FACTS)[0].to_dict()
    assert " ".join(row) == (
        "model role method seed task language corpus split seen label subset metric value low high sentences"
    )
    assert ScoreRow.from_dict(json.loads(json.dumps(row))).to_dict() == row


def test_a_row_with_other_fields_is_refused() -> None:
    row = score_counts(count([["A"]], [["A"]], task="pos"), **FACTS)[0].to_dict()
    del row["seen"]
    with pytest.raises(IntegrityError, match="seen"):
        ScoreRow.from_dict(row)


def test_pos_rows_hold_accuracy_subsets_and_f1_of_each_tag() -> None:
    gold, predicted = [["A", "B", "A"]], [["A", "A", "A"]]
    words = [["x", "y", "z"]]
    rows = score_counts(count(gold, predicted, task="pos", words=words, training_words={"x", "z"}), **FACTS)
    values = {(row.label, row.subset, row.metric): row.value for row in rows}
    assert values[("all", "all", "accuracy")] == pytest.approx(200 / 3)
    assert values[("all", "known-words", "accuracy")] == 100
    assert values[("all", "unknown-words", "accuracy")] == 0
    assert values[("A", "all", "f1")] == pytest.approx(80)
    assert values[("B", "all", "f1")] == 0
    assert len(rows) == 5


def test_ner_rows_hold_f1_precision_and_recall_overall_and_by_type() -> None:
    gold, predicted = [["B-PER", "O", "B-LOC"]], [["B-PER", "B-PER", "O"]]
    rows = score_counts(count(gold, predicted, task="ner", scheme="IOB2"), **FACTS)
    values = {(row.label, row.metric): row.value for row in rows}
    assert values[("all", "f1")] == 50
    assert values[("PER", "precision")] == 50
    assert values[("PER", "recall")] == 100
    assert values[("LOC", "f1")] == 0
    assert len(rows) == 9


def test_interval_holds_the_value_and_repeats_exactly() -> None:
    gold, predicted = _pos()
    row = score_counts(count(gold, predicted, task="pos"), **FACTS)[0]
    assert row.low < row.value < row.high
    assert row == score_counts(count(gold, predicted, task="pos"), **FACTS)[0]
    assert row != score_counts(count(gold, predicted, task="pos"), bootstrap_seed=1, **FACTS)[0]


def test_interval_has_the_width_that_theory_gives() -> None:
    # 200 sentences of 10 words, right with p = 0.8: standard error sqrt(p (1 - p) / 2000) = 0.894 points.
    row = score_counts(count(*_pos(), task="pos"), **FACTS)[0]
    assert row.high - row.low == pytest.approx(2 * 1.96 * 0.894, rel=0.15)


def test_resamples_are_draws_with_replacement_of_whole_sentences() -> None:
    sums = resampled_sums(np.eye(6, dtype=np.int64), resamples=500)  # row i counts how often sentence i was drawn
    assert (sums.sum(axis=1) == 6).all()
    assert (sums > 1).any()
    assert sums.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.arange(60).reshape(20, 3)
    whole = resampled_sums(counts, resamples=50)
    monkeypatch.setattr("structkd.evaluation.bootstrap._DRAWS_AT_ONCE", 70)
    assert np.array_equal(resampled_sums(counts, resamples=50), whole)


def test_nothing_to_divide_by_scores_zero() -> None:
    assert percentage("f1", np.zeros((2, 3))).tolist() == [0, 0]
    rows = score_counts(count([["O"]], [["O"]], task="ner"), **FACTS)
    assert (rows[0].value, rows[0].low, rows[0].high) == (0, 0, 0)


def test_interval_is_the_central_ninety_five_percent() -> None:
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
