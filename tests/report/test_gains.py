"""Comparisons and the words made of them: they follow the numbers and claim nothing untested."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from structkd.errors import IntegrityError
from structkd.evaluation import paired_test
from structkd.report import compare, overview, summarise, verdict


def test_gains_equal_the_paired_test_on_the_same_counts(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=60)
    summary = summarise(invented.rows(models))
    assert summary is not None
    systems = {
        method: {
            language: [m.counts[language] for m in models if m.method == method]
            for language in summary.languages["seen"]
        }
        for method in ("structural", "baseline")
    }
    (gain,) = [g for g in compare(summary, models).of("structural", "seen") if g.reference == "baseline"]
    assert gain.test == paired_test(systems["structural"], systems["baseline"])
    assert gain.value == pytest.approx(gain.test.value)


def test_every_student_meets_every_control_but_teachers_only_on_seen_languages(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=20)
    summary = summarise(invented.rows(models))
    assert summary is not None
    comparison = compare(summary, models)
    references = {scope: [g.reference for g in comparison.of("structural", scope)] for scope in ("seen", "unseen")}
    assert references["seen"] == ["baseline", "baseline-matched", "pseudo-labels", "teachers"]
    assert references["unseen"] == ["baseline", "baseline-matched", "pseudo-labels"]


def test_words_follow_the_tests(invented: SimpleNamespace) -> None:
    methods = {
        "baseline": ("baseline", 0.80, 0.40),
        "pseudo-labels": ("control", 0.90, 0.60),
        "structural": ("student", 0.90, 0.50),
    }
    models = invented.models(methods)
    summary = summarise(invented.rows(models))
    assert summary is not None
    seen, unseen = verdict(summary, compare(summary, models))
    assert seen.startswith("On the seen languages (en, fr, pt, sk), structural distillation scores ")
    assert "over the baseline" in seen
    assert "not distinguishable from pseudo-labels (" in seen
    assert "over the baseline" in unseen
    assert "against pseudo-labels" in unseen
    assert "not distinguishable" not in unseen


def test_without_counts_a_difference_is_called_untested(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=20)
    summary = summarise(invented.rows(models))
    assert summary is not None
    comparison = compare(summary, [m for m in models if m.method != "baseline"])
    tested = {g.reference: g.test is not None for g in comparison.of("structural", "seen")}
    assert tested == {"baseline": False, "baseline-matched": True, "pseudo-labels": True, "teachers": True}
    seen = verdict(summary, comparison)[0]
    assert "to the baseline, not tested because per-sentence counts are missing" in seen


def test_counts_that_disagree_with_the_scores_are_refused(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=20)
    rows = [replace(row, value=row.value - 5) if row.role == "student" else row for row in invented.rows(models)]
    summary = summarise(rows)
    assert summary is not None
    with pytest.raises(IntegrityError, match="evaluate the run again"):
        compare(summary, models)


def test_several_objectives_are_counted(invented: SimpleNamespace) -> None:
    methods = {
        "baseline": ("baseline", 0.80, 0.40),
        "topk": ("student", 0.90, 0.30),
        "structural": ("student", 0.91, 0.50),
    }
    models = invented.models(methods)
    summary = summarise(invented.rows(models))
    assert summary is not None
    seen, unseen = overview(summary, compare(summary, models))
    assert "of 2 objectives: 2 above the baseline" in seen
    assert "1 above, 1 below the baseline" in unseen
    assert "highest mean is that of structural" in unseen
