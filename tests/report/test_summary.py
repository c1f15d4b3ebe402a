"""The main table: the right rows, the right means, nothing averaged that is incomplete."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from structkd.evaluation import ScoreRow
from structkd.report import summarise


def row(model: str, role: str, language: str, value: float, *, seen: bool = True, seed: int | None = 1) -> ScoreRow:
    method = model.split("/")[1] if model.startswith("models/") else "teacher"
    return ScoreRow(
        model,
        role,
        method,
        seed,
        "pos",
        language,
        "Toy",
        "test",
        seen,
        "all",
        "all",
        "accuracy",
        value,
        value,
        value,
        9,
    )


def student(language: str, value: float, seed: int, *, seen: bool = True) -> ScoreRow:
    return row(f"models/structural/seed-{seed}", "student", language, value, seen=seen, seed=seed)


def test_macro_average_is_taken_inside_each_seed_and_deviates_over_seeds() -> None:
    rows = [student("en", 90, 1), student("fr", 80, 1), student("en", 94, 2), student("fr", 82, 2)]
    summary = summarise(rows)
    assert summary is not None
    mean = summary.lines[0].means["seen"]
    assert mean.by_seed == {1: 85, 2: 88}
    assert mean.value == 86.5
    assert mean.deviation == pytest.approx(np.std([85, 88], ddof=1))
    assert summary.lines[0].cells["en"].value == 92


def test_a_mean_over_languages_needs_every_language() -> None:
    rows = [student("en", 90, 1), student("fr", 80, 1), row("models/baseline/seed-1", "baseline", "en", 70)]
    summary = summarise(rows)
    assert summary is not None
    by_key = {line.key: line for line in summary.lines}
    assert "seen" in by_key["structural"].means
    assert "seen" not in by_key["baseline"].means


def test_seeds_without_every_language_stay_out_of_the_macro_average() -> None:
    rows = [student("en", 90, 1), student("fr", 80, 1), student("en", 10, 2)]
    summary = summarise(rows)
    assert summary is not None
    assert summary.lines[0].means["seen"].by_seed == {1: 85}


def test_teachers_stand_on_their_own_language_and_the_best_one_on_unseen_languages() -> None:
    rows = [
        row("teachers/ud/en", "teacher", "en", 90),
        row("teachers/ud/en", "teacher", "fr", 99),  # better than the French teacher, but not its teacher
        row("teachers/ud/fr", "teacher", "fr", 80),
        row("teachers/ud/en", "teacher", "it", 30, seen=False),
        row("teachers/ud/fr", "teacher", "it", 50, seen=False),
    ]
    summary = summarise(rows)
    assert summary is not None
    (line,) = summary.lines
    assert line.means["seen"].value == 85
    assert line.cells["it"].value == 50
    assert line.models == {"en": ("teachers/ud/en",), "fr": ("teachers/ud/fr",), "it": ("teachers/ud/fr",)}


def test_lines_stand_in_the_order_of_their_roles_whatever_the_order_of_rows(invented: SimpleNamespace) -> None:
    rows = invented.rows(invented.models(sentences=5))
    summary = summarise(rows[::-1])
    assert summary is not None
    assert [line.role for line in summary.lines] == ["teacher", "baseline", "baseline", "control", "student"]


def test_the_test_split_is_shown_and_others_are_left_out() -> None:
    rows = [student("en", 90, 1), replace(student("en", 50, 1), split="dev")]
    summary = summarise(rows[::-1])
    assert summary is not None
    assert (summary.split, summary.lines[0].cells["en"].value) == ("test", 90)


def test_no_rows_give_no_summary() -> None:
    assert summarise([]) is None
    assert summarise([replace(student("en", 90, 1), label="NOUN", metric="f1")]) is None


def test_teachers_of_several_seeds_are_one_line_that_deviates() -> None:
    rows = [
        row(f"teachers/toy/{card}/seed-{seed}", "teacher", language, value + seed, seen=language != "it", seed=seed)
        for card, language, value in (("en", "en", 90), ("fr", "fr", 80), ("en", "it", 40), ("fr", "it", 50))
        for seed in (1, 2)
    ]
    summary = summarise(rows)
    assert summary is not None
    (teachers,) = summary.lines
    assert teachers.means["seen"].by_seed == {1: 86, 2: 87}
    assert teachers.cells["it"].by_seed == {1: 51, 2: 52}, "on an unseen language the better card"
    assert len(teachers.models["en"]) == 2
