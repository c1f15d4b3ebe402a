"""The outcome in words, made from numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from structkd.report.gains import Comparison, Gain, gain_text, p_text
from structkd.report.summary import SCOPES, Line, Summary


def overview(summary: Summary, comparison: Comparison) -> list[str]:
    """One sentence a scope that counts the outcomes of all students; empty with fewer than two students."""
    if len(summary.students) < 2:
        return []
    sentences = []
    for scope in SCOPES:
        students = [student for student in summary.students if scope in student.means]
        if not students:
            continue
        best = max(students, key=lambda student: student.means[scope].value)
        clauses = []
        for reference in summary.references:
            gains = [g for g in comparison.gains if g.scope == scope and g.reference == reference.key]
            tests = [gain.test for gain in gains if gain.test is not None]
            if len(tests) < len(gains):
                clauses.append(
                    f"not all tested against {_in_a_sentence(reference)}, as per-sentence counts are missing"
                )
            if not gains or len(tests) < len(gains):
                continue
            above = sum(test.is_distinguishable and test.value > 0 for test in tests)
            below = sum(test.is_distinguishable and test.value < 0 for test in tests)
            counted = [(above, "above"), (below, "below"), (len(tests) - above - below, "not distinguishable from")]
            told = ", ".join(f"{number} {relation}" for number, relation in counted if number)
            clauses.append(f"{told} {_in_a_sentence(reference)}")
        outcome = "; ".join(clauses) if clauses else "no baseline or control to compare with"
        sentences.append(
            f"On the {scope} languages, of {len(students)} objectives: {outcome}. The highest mean is that of"
            f" {best.key}, {best.means[scope].value:.2f} {summary.metric_name} (picked by this very score)."
        )
    return sentences


def verdict(summary: Summary, comparison: Comparison) -> list[str]:
    """The outcome in words: one sentence a student and scope, made from numbers alone."""
    titles = {line.key: _in_a_sentence(line) for line in summary.references}
    sentences = []
    for student in summary.students:
        for scope in SCOPES:
            if scope not in student.means:
                continue
            mean, number = student.means[scope], len(summary.languages[scope])
            deviation = "" if mean.deviation is None else f" ± {mean.deviation:.2f}"
            opening = (
                f"On the {scope} {'language' if number == 1 else 'languages'} ({', '.join(summary.languages[scope])}),"
                f" {student.key} distillation scores {mean.value:.2f}{deviation} {summary.metric_name}"
            )
            clauses = _clauses(comparison.of(student.key, scope), titles)
            sentences.append(opening + (": " + "; ".join(clauses) if clauses else "") + ".")
    return sentences


def _clauses(gains: Sequence[Gain], titles: Mapping[str, str]) -> list[str]:
    above = [g for g in gains if g.test is not None and g.test.is_distinguishable and g.value > 0]
    below = [g for g in gains if g.test is not None and g.test.is_distinguishable and g.value <= 0]
    alike = [g for g in gains if g.test is not None and not g.test.is_distinguishable]
    untested = [g for g in gains if g.test is None]
    clauses = []
    if above:
        clauses.append(_join([f"{gain_text(g)} over {titles[g.reference]}" for g in above]))
    if below:
        clauses.append(_join([f"{gain_text(g)} against {titles[g.reference]}" for g in below]))
    if alike:
        named = [f"{titles[g.reference]} ({gain_text(g)}, {p_text(g.test.p_value)})" for g in alike if g.test]
        clauses.append("not distinguishable from " + _join(named))
    if untested:
        named = [f"{gain_text(g)} to {titles[g.reference]}" for g in untested]
        clauses.append("difference " + _join(named) + ", not tested because per-sentence counts are missing")
    return clauses


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _in_a_sentence(line: Line) -> str:
    known = {
        "baseline": "the baseline",
        "baseline-matched": "the step-matched baseline",
        "teachers": "the teachers",
        "pseudo-labels": "pseudo-labels",
    }
    return known.get(line.key, line.key)
