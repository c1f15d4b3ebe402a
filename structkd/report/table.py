"""The tables of a run as plain text, for the end of a run on stdout."""

from __future__ import annotations

from collections.abc import Sequence

from structkd.evaluation import ModelCounts, ScoreRow
from structkd.report.gains import Comparison, Gain, compare, gain_text, p_text
from structkd.report.summary import SCOPES, Cell, Summary, summarise

DASH = "\N{EN DASH}"
Grid = list[list[str]]  # the first row is the head


def text_table(rows: Sequence[ScoreRow], models: Sequence[ModelCounts] = (), *, width: int = 100) -> str:
    """The main table, and what distillation bought.

    Args:
        rows: of one run.
        models: per-sentence counts, for intervals and p-values.
        width: columns to stay within; languages that do not fit go into further blocks.

    Returns:
        Aligned lines without trailing spaces or newline.
    """
    summary = summarise(rows)
    if summary is None:
        return "No scores yet."
    number = f", mean ± standard deviation over {summary.seeds} seeds" if summary.seeds > 1 else ", one seed"
    parts = [f"{summary.metric_name.capitalize()} in percent on {summary.split} sets{number}"]
    for scope in SCOPES:
        if not summary.languages[scope]:
            continue
        head = f"{scope.capitalize()} languages{teacher_note(summary, scope)}"
        parts.append("\n".join([head, *blocks(score_grid(summary, scope), width)]))
    gains = gain_grid(summary, compare(summary, models))
    if gains:
        head = f"What distillation bought: difference in points of {summary.metric_name} [95% interval]"
        parts.append("\n".join([head, *_aligned(gains)]))
    return "\n\n".join(parts)


def teacher_note(summary: Summary, scope: str) -> str:
    """What the line of the teachers means in this scope; empty where it has no scores."""
    languages = set(summary.languages[scope])
    if not any(line.role == "teacher" and line.cells.keys() & languages for line in summary.lines):
        return ""
    if scope == "seen":
        return " (teachers: each on its own language)"
    return " (teachers: the best one for each language, chosen by its score)"


def score_grid(summary: Summary, scope: str) -> Grid:
    """Method, each language, mean: the text of every cell, head first."""
    languages = summary.languages[scope]
    grid = [["method", *languages, "mean"]]
    for line in summary.lines:
        cells = [line.cells.get(language) for language in languages] + [line.means.get(scope)]
        if any(cells):
            grid.append([line.title, *(cell_text(cell) for cell in cells)])
    return grid


def gain_grid(summary: Summary, comparison: Comparison) -> Grid:
    """Student minus reference, seen and unseen; empty where nothing can be compared."""
    scopes = [scope for scope in SCOPES if any(gain.scope == scope for gain in comparison.gains)]
    grid: Grid = []
    for student in summary.students:
        for reference in summary.references:
            found = {g.scope: g for g in comparison.gains if (g.student, g.reference) == (student.key, reference.key)}
            if found:
                texts = [_tested(found[scope]) if scope in found else DASH for scope in scopes]
                grid.append([f"{student.key} minus {reference.title}", *texts])
    return [["student minus control", *scopes], *grid] if grid else []


def cell_text(cell: Cell | None) -> str:
    """`92.02 ±0.05`, `92.02` with one seed, a dash where there is no score."""
    if cell is None:
        return DASH
    return f"{cell.value:.2f}" if cell.deviation is None else f"{cell.value:.2f} ±{cell.deviation:.2f}"


def _tested(gain: Gain) -> str:
    return gain_text(gain) + (f" {p_text(gain.test.p_value)}" if gain.test else " not tested")


def blocks(grid: Grid, width: int) -> list[str]:
    """A grid as aligned lines, its columns spread over as many blocks as the width asks for."""
    first = max(len(row[0]) for row in grid)
    blocks: list[list[int]] = [[]]
    used = first
    for column in range(1, len(grid[0])):
        wanted = 2 + max(len(row[column]) for row in grid)
        if blocks[-1] and used + wanted > width:
            blocks.append([])
            used = first
        blocks[-1].append(column)
        used += wanted
    lines: list[str] = []
    for columns in blocks:
        lines += [""] if lines else []
        lines += _aligned([[row[0], *(row[column] for column in columns)] for row in grid])
    return lines


def _aligned(grid: Grid) -> list[str]:
    widths = [max(len(row[column]) for row in grid) for column in range(len(grid[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))])
        for row in grid
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
