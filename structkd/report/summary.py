"""From flat score rows to the lines of the main table: one per method, means over seeds and languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from structkd.evaluation import ScoreRow

ROLES = ("teacher", "ensemble", "baseline", "control", "student")
_TITLES = {
    "baseline": "Baseline, gold only",
    "baseline-matched": "Baseline, step-matched",
    "pseudo-labels": "Pseudo-labels",
}
SCOPES = ("seen", "unseen")


@dataclass(frozen=True)
class Cell:
    """One score: the mean over seeds.

    Attributes:
        value: percent.
        deviation: sample standard deviation over seeds; None with fewer than two.
        low: lower end of the 95% interval over sentences, the mean of the seeds' ends; None for macro averages.
        high: upper end.
        by_seed: seed -> percent.
    """

    value: float
    deviation: float | None
    low: float | None
    high: float | None
    by_seed: Mapping[int | None, float]


@dataclass(frozen=True)
class Line:
    """One method in the main table.

    Attributes:
        key: unique name: the method, or `teachers`.
        role: teacher, ensemble, baseline, control or student.
        title: what a reader sees.
        cells: language -> score; languages without one are left out.
        means: `seen` and `unseen` -> macro average, only where every language of the scope has a score.
        models: language -> the models behind the cell.
    """

    key: str
    role: str
    title: str
    cells: Mapping[str, Cell]
    means: Mapping[str, Cell]
    models: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Summary:
    """The main table.

    Attributes:
        task: pos or ner.
        metric: accuracy or f1.
        split: the split that is shown; test where there is one.
        languages: `seen` and `unseen` -> languages in the order of the rows.
        corpora: language -> title of its corpus.
        sentences: language -> sentences of its test set.
        lines: teachers, mixtures, baselines, controls, students.
    """

    task: str
    metric: str
    split: str
    languages: Mapping[str, tuple[str, ...]]
    corpora: Mapping[str, str]
    sentences: Mapping[str, int]
    lines: tuple[Line, ...]

    @property
    def students(self) -> tuple[Line, ...]:
        """The distilled models."""
        return tuple(line for line in self.lines if line.role == "student")

    @property
    def references(self) -> tuple[Line, ...]:
        """What students are compared with: baselines, controls, then the teachers."""
        controls = tuple(line for line in self.lines if line.role in ("baseline", "control"))
        return controls + tuple(line for line in self.lines if line.role == "teacher")

    @property
    def all_languages(self) -> tuple[str, ...]:
        """Seen languages, then unseen ones."""
        return tuple(dict.fromkeys(language for scope in SCOPES for language in self.languages[scope]))

    @property
    def metric_name(self) -> str:
        """The metric as one writes it."""
        return "F1" if self.metric == "f1" else self.metric

    @property
    def seeds(self) -> int:
        """The largest number of seeds behind any score of a student, baseline or control."""
        trained = [
            cell for line in self.lines if line.role not in ("teacher", "ensemble") for cell in line.cells.values()
        ]
        return max((len(cell.by_seed) for cell in trained), default=0)


def summarise(rows: Sequence[ScoreRow]) -> Summary | None:
    """Group rows into lines.

    Teachers are one line: on a seen language its own teacher (the last part of the model's name is the language,
    or else the best), on an unseen one the best teacher, chosen by the score itself.

    Args:
        rows: of one run and one task.

    Returns:
        The summary, or None where no row scores a whole test set.
    """
    metrics = {"pos": "accuracy", "ner": "f1"}
    main = [
        row for row in rows if row.label == "all" and row.subset == "all" and row.metric == metrics.get(row.task, "")
    ]
    if not main:
        return None
    splits = list(dict.fromkeys(row.split for row in main))
    split = "test" if "test" in splits else splits[0]
    main = [row for row in main if row.split == split]
    languages = {
        scope: tuple(dict.fromkeys(row.language for row in main if row.seen == (scope == "seen"))) for scope in SCOPES
    }
    groups: dict[tuple[str, str], list[ScoreRow]] = {}
    for row in main:
        key = "teachers" if row.role == "teacher" else row.method
        groups.setdefault((row.role, key), []).append(row)
    ordered = sorted(groups, key=lambda group: ROLES.index(group[0]) if group[0] in ROLES else len(ROLES))
    return Summary(
        task=main[0].task,
        metric=main[0].metric,
        split=split,
        languages=languages,
        corpora={row.language: row.corpus for row in main},
        sentences={row.language: row.sentences for row in main},
        lines=tuple(_line(role, key, groups[role, key], languages) for role, key in ordered),
    )


def own_rows(role: str, rows: Iterable[ScoreRow]) -> list[ScoreRow]:
    """The rows that count for a line: all of them, or for teachers one card a language (see `summarise`)."""
    if role != "teacher":
        return list(rows)
    by_language: dict[str, dict[str, list[ScoreRow]]] = {}
    for row in rows:
        card = re.sub(r"/seed-[0-9]+$", "", row.model)
        by_language.setdefault(row.language, {}).setdefault(card, []).append(row)
    chosen = []
    for language, cards in by_language.items():
        own = {card: found for card, found in cards.items() if card.rsplit("/", 1)[-1] == language}
        # Of a card that was trained with several seeds, all of them.
        chosen += max((own or cards).values(), key=lambda found: float(np.mean([row.value for row in found])))
    return chosen


def _line(role: str, key: str, rows: Sequence[ScoreRow], languages: Mapping[str, tuple[str, ...]]) -> Line:
    by_language: dict[str, list[ScoreRow]] = {}
    for row in own_rows(role, rows):
        by_language.setdefault(row.language, []).append(row)
    cells = {language: _cell(group) for language, group in by_language.items()}
    means = {scope: _macro(cells, languages[scope]) for scope in SCOPES}
    return Line(
        key=key,
        role=role,
        title=_title(role, key),
        cells=cells,
        means={scope: mean for scope, mean in means.items() if mean is not None},
        models={language: tuple(row.model for row in group) for language, group in by_language.items()},
    )


def _title(role: str, key: str) -> str:
    if role == "teacher":
        return "Teachers"
    if role == "ensemble":
        return "Mixture of teachers" if key in ("ensemble", "mixture") else f"Teachers, {key}"
    if role == "student":
        return f"Student, {key}"
    return _TITLES.get(key, key)


def _cell(rows: Sequence[ScoreRow]) -> Cell:
    by_seed = {row.seed: row.value for row in rows}
    return Cell(
        value=float(np.mean(list(by_seed.values()))),
        deviation=_deviation(by_seed),
        low=float(np.mean([row.low for row in rows])),
        high=float(np.mean([row.high for row in rows])),
        by_seed=by_seed,
    )


def _macro(cells: Mapping[str, Cell], languages: Sequence[str]) -> Cell | None:
    if not languages or any(language not in cells for language in languages):
        return None
    if all(len(cells[language].by_seed) == 1 for language in languages):  # teachers: one model each, whatever its seed
        by_seed: dict[int | None, float] = {None: float(np.mean([cells[language].value for language in languages]))}
    else:
        complete = set.intersection(*(set(cells[language].by_seed) for language in languages))
        by_seed = {
            seed: float(np.mean([cells[language].by_seed[seed] for language in languages]))
            for seed in cells[languages[0]].by_seed
            if seed in complete
        }
    if not by_seed:
        return None
    return Cell(float(np.mean(list(by_seed.values()))), _deviation(by_seed), None, None, by_seed)


def _deviation(by_seed: Mapping[int | None, float]) -> float | None:
    return float(np.std(list(by_seed.values()), ddof=1)) if len(by_seed) > 1 else None
