"""Finer tables: scores of single labels and of known and unknown words, averaged over languages and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from structkd.evaluation import ScoreRow
from structkd.report.summary import SCOPES, Summary, own_rows
from structkd.report.table import DASH, Grid


@dataclass(frozen=True)
class Breakdown:
    """One finer table.

    Attributes:
        title: what it shows.
        grid: text of its cells, head first.
    """

    title: str
    grid: Grid


def breakdowns(summary: Summary, rows: Sequence[ScoreRow]) -> list[Breakdown]:
    """Known and unknown words, then labels, seen before unseen; tables without numbers are left out.

    A number is the mean over the languages of the scope in which every method shown has the row, so that methods are
    compared on the same ground.
    """
    rows = [row for row in rows if row.split == summary.split]
    by_subset = [row for row in rows if row.subset != "all" and row.label == "all" and row.metric == summary.metric]
    by_label = [row for row in rows if row.label != "all" and row.subset == "all" and row.metric == "f1"]
    tables = []
    for what, field, chosen in (
        (f"{summary.metric_name.capitalize()} by familiarity of the word", "subset", by_subset),
        ("F1 by label", "label", by_label),
    ):
        for scope in SCOPES:
            grid = _grid(summary, field, [row for row in chosen if row.seen == (scope == "seen")], scope)
            if len(grid) > 1:
                tables.append(Breakdown(f"{what}, {scope} languages", grid))
    return tables


def _grid(summary: Summary, field: str, rows: Sequence[ScoreRow], scope: str) -> Grid:
    names = list(dict.fromkeys(getattr(row, field) for row in rows))
    if field == "label":
        names.sort()
    lines = [line for line in summary.lines if line.role != "teacher" or scope == "seen"]
    values: dict[tuple[str, str], dict[str, list[float]]] = {}  # (line, name) -> language -> one number per model
    for line in lines:
        for name in names:
            matching = [row for row in rows if getattr(row, field) == name]
            own = [row for row in matching if row.model in line.models.get(row.language, ())]
            for row in own_rows(line.role, own):
                values.setdefault((line.key, name), {}).setdefault(row.language, []).append(row.value)
    lines = [line for line in lines if any((line.key, name) in values for name in names)]
    grid: Grid = [["", *(line.title for line in lines)]]
    for name in names:
        by_line = [values.get((line.key, name), {}) for line in lines]
        shared = set.intersection(*(set(found) for found in by_line)) if by_line else set()
        if shared:
            means = [np.mean([np.mean(found[language]) for language in sorted(shared)]) for found in by_line]
            number = f"{name} ({len(shared)})" if len(shared) < len(summary.languages[scope]) else name
            grid.append([number, *(f"{mean:.2f}" for mean in means)])
        elif any(by_line):
            grid.append([name, *(DASH for _ in lines)])
    return grid
