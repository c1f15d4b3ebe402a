"""What distillation bought: student minus each control, with paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from structkd.errors import IntegrityError
from structkd.evaluation import Counts, Difference, ModelCounts, Resampled, difference, macro_draws, resample
from structkd.evaluation.bootstrap import interval
from structkd.report.summary import SCOPES, Line, Summary

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Gain:
    """Student minus reference over the languages of one scope.

    Attributes:
        student: key of the student's line.
        reference: key of the line it is compared with.
        scope: seen or unseen.
        value: difference of the macro averages, in points.
        test: its interval and p-value; None where per-sentence counts are missing.
        by_language: language -> difference in points.
    """

    student: str
    reference: str
    scope: str
    value: float
    test: Difference | None
    by_language: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """All paired comparisons of a run.

    Attributes:
        gains: every student against every reference, seen before unseen.
        intervals: (key of a line, scope) -> 95% interval of its macro average over sentences and seeds.
    """

    gains: tuple[Gain, ...]
    intervals: Mapping[tuple[str, str], tuple[float, float]]

    def of(self, student: str, scope: str) -> list[Gain]:
        """The gains of one student in one scope."""
        return [gain for gain in self.gains if gain.student == student and gain.scope == scope]


def compare(summary: Summary, models: Sequence[ModelCounts]) -> Comparison:
    """Test every student against every reference.

    Teachers are compared on seen languages only: on unseen ones their line is a choice made by looking at the scores.

    Args:
        summary: the main table.
        models: counts of the models behind it; those that are missing leave differences untested.

    Raises:
        IntegrityError: the counts belong to other scores than the table.
    """
    by_model = {record.model: record for record in models}
    drawn = {line.key: _resampled(line, by_model) for line in summary.lines}
    gains = []
    for scope in SCOPES:
        languages = summary.languages[scope]
        for student in summary.students:
            for reference in summary.references:
                skipped = reference.role == "teacher" and scope == "unseen"
                if skipped or scope not in student.means or scope not in reference.means:
                    continue
                gains.append(_gain(student, reference, scope, languages, drawn))
    intervals = {}
    for line in summary.lines:
        for scope, languages in summary.languages.items():
            resampled = drawn[line.key]
            if scope in line.means and all(language in resampled.draws for language in languages):
                intervals[line.key, scope] = interval(macro_draws(resampled, languages))
    return Comparison(tuple(gains), intervals)


def _gain(student: Line, reference: Line, scope: str, languages: Sequence[str], drawn: Mapping[str, Resampled]) -> Gain:
    value = student.means[scope].value - reference.means[scope].value
    a, b = drawn[student.key], drawn[reference.key]
    test = None
    if all(language in a.draws and language in b.draws for language in languages):
        test = difference(a, b, languages)
        if abs(test.value - value) > 0.01:
            raise IntegrityError(
                f"{student.key} minus {reference.key} on {scope} languages is {value:+.2f} by scores.json but"
                f" {test.value:+.2f} by the counts in evaluation/: evaluate the run again"
            )
    by_language = {name: student.cells[name].value - reference.cells[name].value for name in languages}
    return Gain(student.key, reference.key, scope, value, test, by_language)


def _resampled(line: Line, by_model: Mapping[str, ModelCounts]) -> Resampled:
    system: dict[str, list[Counts]] = {}
    for language, models in line.models.items():
        found = [by_model[m].counts[language] for m in models if m in by_model and language in by_model[m].counts]
        if len(found) == len(models):
            system[language] = found
    return resample(system)


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign; no minus before a zero."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text.replace("-", MINUS)


def p_text(p_value: float) -> str:
    """A p-value, no finer than a thousand resamples can tell."""
    return f"p = {p_value:.3f}" if p_value >= 0.01 else "p < 0.01"


def gain_text(gain: Gain) -> str:
    """`+2.29 [1.90, 2.70]`, or only the difference where it was not tested."""
    if gain.test is None:
        return signed(gain.value)
    low, high = (f"{end:.2f}".replace("-", MINUS) for end in (gain.test.low, gain.test.high))
    return f"{signed(gain.value)} [{low}, {high}]"
