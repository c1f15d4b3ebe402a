"""The table of a sweep: who is compared with whom, and a block that can be written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from structkd.errors import DataError, UsageError
from structkd.evaluation import Counts
from structkd.report.sweep import SweepLine, SweepRecord, parse_reference, score_lines
from structkd.report.sweep_table import _shortened, sweep_json, sweep_markdown, sweep_text, write_results

VARIED = {"objective": ("topk", "structural"), "knowledge.temperature": ("1", "2")}
LANGUAGES = {"seen": ("en", "fr"), "unseen": ("it",)}
POINTS = [{"objective": o, "knowledge.temperature": t} for o in VARIED["objective"] for t in ("1", "2")]


def counts(accuracy: float, seed: int = 0) -> Counts:
    """100 sentences of 10 words."""
    right = np.random.default_rng(seed).binomial(10, accuracy, 100)
    overall = np.stack([right, np.full(100, 10), np.full(100, 10)], axis=1)
    return Counts("pos", overall, ("N",), overall[:, None], {})


def line(method: str, role: str, accuracy: float, *points: dict[str, str]) -> SweepLine:
    languages = ("en", "fr") if role == "teacher" else ("en", "fr", "it")
    made = {name: tuple(counts(accuracy, 10 * i + seed) for seed in (1, 2)) for i, name in enumerate(languages)}
    return SweepLine(method, role, points, (1, 2), made)


def record(*references: str) -> SweepRecord:
    methods = ("topk", "structural", "baseline", "teachers")
    wanted = [parse_reference(text, VARIED, methods) for text in references]
    lines = [
        *(line(p["objective"], "student", 0.7 + 0.05 * i, p) for i, p in enumerate(POINTS)),
        line("baseline", "baseline", 0.7, *POINTS),
        line("teachers", "teacher", 0.9, *POINTS),
    ]
    return SweepRecord(
        recipe="toy/pos",
        command="structkd sweep toy/pos",
        metric="accuracy",
        varied=VARIED,
        seeds=(1, 2),
        teacher_seeds="varied",
        languages=LANGUAGES,
        references=references,
        lines=score_lines(lines, wanted, LANGUAGES),
        environment={"cores": 2, "processor": "x86_64", "structkd": "0.1", "packages": {"torch": "2.13"}, "gpus": []},
    )


def difference(found: SweepRecord, method: str, temperature: str, reference: str, of: str = "seen") -> float | None:
    for scored in found.lines:
        if scored.line.method == method and scored.line.points[0]["knowledge.temperature"] == temperature:
            test = scored.differences.get((reference, of))
            return None if test is None else test.value
    raise AssertionError(method)


def value(found: SweepRecord, method: str, temperature: str = "1", of: str = "seen") -> float:
    return next(
        scored.scores[of].value
        for scored in found.lines
        if scored.line.method == method and scored.line.points[0]["knowledge.temperature"] == temperature
    )


def test_a_mean_is_over_languages_first_and_deviates_over_seeds() -> None:
    student = next(scored for scored in record().lines if scored.line.method == "structural")
    by_seed = [
        np.mean([100 * student.line.counts[name][seed].overall[:, 0].sum() / 1000 for name in ("en", "fr")])
        for seed in (0, 1)
    ]
    score = student.scores["seen"]
    assert score.by_seed == pytest.approx(by_seed)
    assert score.value == pytest.approx(np.mean(by_seed))
    assert score.deviation == pytest.approx(np.std(by_seed, ddof=1))


def test_a_reference_is_the_line_of_the_same_variant() -> None:
    found = record("baseline", "knowledge.temperature=1", "structural", "topk, knowledge.temperature=2", "teachers")
    assert difference(found, "topk", "2", "baseline") == pytest.approx(
        value(found, "topk", "2") - value(found, "baseline")
    )
    expected = value(found, "topk", "2") - value(found, "topk", "1")
    assert difference(found, "topk", "2", "knowledge.temperature=1") == pytest.approx(expected)
    assert difference(found, "topk", "1", "knowledge.temperature=1") is None, "no line is compared with itself"
    expected = value(found, "topk", "2") - value(found, "structural", "2")
    assert difference(found, "topk", "2", "structural") == pytest.approx(expected)
    expected = value(found, "structural", "1") - value(found, "topk", "2")
    assert difference(found, "structural", "1", "topk, knowledge.temperature=2") == pytest.approx(expected)
    assert difference(found, "structural", "1", "teachers") is not None
    assert difference(found, "structural", "1", "teachers", "unseen") is None, "a teacher has one language"


@pytest.mark.parametrize("text", ["posterior", "knowledge.temperature=3", "corpus.gold=1", ""])
def test_a_reference_outside_the_sweep_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected of topk, structural, baseline"):
        parse_reference(text, VARIED, ("topk", "structural", "baseline"))


def test_the_text_says_what_can_be_told_from_chance() -> None:
    text = sweep_text(record("baseline"), by_language=True)
    assert "Against baseline on seen languages: above:" in text
    assert "not distinguishable: topk (temperature 1)" in text
    assert "teachers trained anew for each seed" in text
    assert "8 tests at 5%: expect about 0.4" in text
    assert all(len(row) <= 150 for row in text.splitlines() if not row.startswith(("Against", "Accuracy")))
    rows = [row for row in text.splitlines() if row.startswith("topk (temperature 1)")]
    assert len(rows) == 3, "every block and table names the whole line"
    assert "| baseline, gold only | any |" in sweep_markdown(record())
    assert [row for row in text.splitlines() if row.startswith("unseen") and row.endswith("it")]


def test_json_holds_every_score_and_difference() -> None:
    lines = sweep_json(record("baseline"))["lines"]
    found = {(row["method"], s["settings"][0]["knowledge.temperature"]): s for s in lines for row in [s]}
    student = found["topk", "2"]
    assert {row["of"] for row in student["scores"]} == {"en", "fr", "it", "seen", "unseen"}
    assert {(row["reference"], row["of"]) for row in student["differences"]} >= {
        ("baseline", "seen"),
        ("baseline", "it"),
    }
    assert len(student["scores"][0]["by_seed"]) == 2


def test_results_are_written_into_their_own_block_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Results\n\nbefore\n", encoding="utf-8")
    made = record("baseline")
    write_results(path, made)
    once = path.read_text(encoding="utf-8")
    assert once.startswith("# Results\n\nbefore\n\n<!-- sweep toy/pos by objective knowledge.temperature -->\n")
    assert "`structkd sweep toy/pos` on 2 cores" in once
    path.write_text(once.replace("topk", "OLD") + "\nafter\n", encoding="utf-8")
    write_results(path, made)
    assert path.read_text(encoding="utf-8") == once + "\nafter\n"
    assert sweep_markdown(made) in once
    path.write_text(once.replace("<!-- end", "<!-- "), encoding="utf-8")
    with pytest.raises(DataError, match="end of sweep toy/pos"):
        write_results(path, made)
    with pytest.raises(DataError, match="there is no"):
        write_results(tmp_path / "missing.md", made)


def test_long_values_are_cut_only_where_they_stay_apart() -> None:
    assert _shortened(("none", "{en: untagged, de: untagged}")) == ["none", "{en: untagged, de..."]
    alike = ("{en: untagged, de: a}", "{en: untagged, de: b}")
    assert _shortened(alike) == list(alike)
