"""What a sweep found: a line for each set of models, means over seeds, and paired tests against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from structkd.errors import UsageError
from structkd.evaluation import Counts, Difference, Resampled, difference, resample
from structkd.report.summary import ROLES, SCOPES

OBJECTIVE = "objective"
TEACHERS = "teachers"
Settings = Mapping[str, str]


@dataclass(frozen=True)
class SweepLine:
    """Models that differ in their seeds only.

    Attributes:
        method: objective, name of a control, or `teachers`.
        role: teacher, baseline, control or student.
        points: the variants that these models belong to, each as varied key -> value; a baseline belongs to many.
        seeds: in the order of the counts.
        counts: language -> counts on its test set, one a seed.
    """

    method: str
    role: str
    points: tuple[Settings, ...]
    seeds: tuple[int | None, ...]
    counts: Mapping[str, tuple[Counts, ...]]


@dataclass(frozen=True)
class Reference:
    """What a line is compared with: the line of the same variant with another method or other settings.

    Attributes:
        name: as the user wrote it: `baseline`, or `knowledge.temperature=1`.
        method: None for the line's own.
        settings: varied keys that are replaced.
    """

    name: str
    method: str | None
    settings: Settings


@dataclass(frozen=True)
class Score:
    """A score in percent: the mean over seeds, the sample deviation (None with one seed), and each seed's own."""

    value: float
    deviation: float | None
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class ScoredLine:
    """A line with its numbers.

    Attributes:
        scores: by language, and by scope (`seen`, `unseen`) the mean over its languages with equal weight.
        differences: (name of the reference, language or scope) -> this line minus the reference.
    """

    line: SweepLine
    scores: Mapping[str, Score]
    differences: Mapping[tuple[str, str], Difference]


@dataclass(frozen=True)
class SweepRecord:
    """A finished sweep.

    Attributes:
        recipe: its name.
        command: that made it.
        metric: accuracy or f1.
        varied: key -> its values, in order.
        seeds: of students and controls.
        teacher_seeds: `same` or `varied`; None where that was varied itself.
        languages: `seen` and `unseen` -> languages.
        references: names, in order.
        lines: teachers, baselines, controls, students.
        environment: versions and machine.
    """

    recipe: str
    command: str
    metric: str
    varied: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    teacher_seeds: str | None
    languages: Mapping[str, tuple[str, ...]]
    references: tuple[str, ...]
    lines: tuple[ScoredLine, ...]
    environment: Mapping[str, object]


def parse_reference(text: str, varied: Mapping[str, Sequence[str]], methods: Sequence[str]) -> Reference:
    """Read `baseline`, `knowledge.temperature=1` or `structural, corpus.untagged=none`.

    Args:
        varied: key -> its values.
        methods: that some variant trains.

    Raises:
        UsageError: neither a method of this sweep nor a varied key with one of its values.
    """
    method, settings = None, {}
    for part in (part.strip() for part in text.split(",")):
        key, equals, value = (word.strip() for word in part.partition("="))
        if equals and value in varied.get(key, ()):
            settings[key] = value
        elif not equals and part in methods:
            method = part
        else:
            known = [*methods, *(f"{name}={found}" for name, values in varied.items() for found in values)]
            raise UsageError(f"--reference {text}: {part!r} is not in this sweep; expected of {', '.join(known)}")
    method = method or settings.get(OBJECTIVE)
    if method in varied.get(OBJECTIVE, ()):
        settings[OBJECTIVE] = str(method)
    return Reference(text, method, settings)


def score_lines(
    lines: Sequence[SweepLine], references: Sequence[Reference], languages: Mapping[str, Sequence[str]]
) -> tuple[ScoredLine, ...]:
    """Means, deviations and paired tests of every line; each line is resampled once.

    Args:
        languages: `seen` and `unseen` -> languages.
    """
    ordered = sorted(lines, key=lambda line: ROLES.index(line.role) if line.role in ROLES else len(ROLES))
    drawn = [resample(line.counts) for line in ordered]
    places = {(line.method, _frozen(point)): i for i, line in enumerate(ordered) for point in line.points}
    columns: dict[str, tuple[str, ...]] = {name: (name,) for scope in SCOPES for name in languages[scope]}
    columns |= {scope: tuple(languages[scope]) for scope in SCOPES if languages[scope]}
    scored = []
    for i, line in enumerate(ordered):
        covered = {column: names for column, names in columns.items() if set(names) <= set(line.counts)}
        differences = {}
        for reference in references:
            other = _partner(line, reference, places) if line.role == "student" else None
            if other is None or other == i:
                continue
            for column, names in covered.items():
                if set(names) <= set(ordered[other].counts):
                    differences[reference.name, column] = difference(drawn[i], drawn[other], names)
        scores = {column: _score(drawn[i], names) for column, names in covered.items()}
        scored.append(ScoredLine(line, scores, differences))
    return tuple(scored)


def _partner(line: SweepLine, reference: Reference, places: Mapping[tuple[str, frozenset[object]], int]) -> int | None:
    """Where the line stands that a reference means for this one."""
    for point in line.points:
        found = places.get((reference.method or line.method, _frozen({**point, **reference.settings})))
        if found is not None:
            return found
    return None


def _frozen(point: Settings) -> frozenset[object]:
    return frozenset(point.items())


def _score(drawn: Resampled, languages: Sequence[str]) -> Score:
    by_seed = np.mean([drawn.scores[language] for language in languages], axis=0)
    deviation = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
    return Score(float(by_seed.mean()), deviation, tuple(float(value) for value in by_seed))
