"""The table of a sweep: for the terminal, as Markdown, as JSON, and as a block of a file of results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from structkd.errors import DataError
from structkd.evaluation import Difference
from structkd.report.gains import signed
from structkd.report.markdown import markdown_table, plain
from structkd.report.summary import SCOPES
from structkd.report.sweep import OBJECTIVE, Score, ScoredLine, SweepRecord
from structkd.report.table import DASH, Grid, blocks
from structkd.storage import write_atomic

_NAMES = {"baseline": "baseline, gold only", "baseline-matched": "baseline, step-matched"}


def sweep_text(record: SweepRecord, *, by_language: bool = False, width: int = 150) -> str:
    """The table as aligned lines, and what it says.

    Args:
        by_language: also the scores of each language.
        width: columns to stay within; what does not fit goes into further blocks.
    """
    grids = [_main_grid(record), *(_language_grids(record) if by_language else [])]
    parts = [_caption(record), *("\n".join(blocks(_named(record, grid), width)) for grid in grids)]
    return "\n\n".join([*parts, "\n".join(outcome(record))])


def sweep_markdown(record: SweepRecord, *, by_language: bool = False) -> str:
    """The same as Markdown, with the command, the seeds and the machine."""
    varied = ", ".join(f"`{key}`" for key in record.varied)
    parts = [f"### `{record.recipe}` by {varied}", plain(_caption(record)), markdown_table(_main_grid(record))]
    if by_language:
        parts += [markdown_table(grid) for grid in _language_grids(record)]
    parts += ["\n".join(f"- {plain(sentence)}" for sentence in outcome(record))]
    parts += [f"Made by `{record.command}` on {plain(machine(record.environment))}."]
    return "\n\n".join(parts) + "\n"


def sweep_json(record: SweepRecord) -> dict[str, Any]:
    """The record as plain values; scores and differences are lists of rows."""
    value = asdict(record)
    value["lines"] = [
        {
            "method": scored.line.method,
            "role": scored.line.role,
            "settings": [dict(point) for point in scored.line.points],
            "seeds": list(scored.line.seeds),
            "scores": [{"of": column, **asdict(score)} for column, score in scored.scores.items()],
            "differences": [
                {"reference": name, "of": column, **asdict(found), "distinguishable": found.is_distinguishable}
                for (name, column), found in scored.differences.items()
            ],
        }
        for scored in record.lines
    ]
    return value


def write_results(path: Path, record: SweepRecord, *, by_language: bool = False) -> None:
    """Put the Markdown between the marks that name this recipe and these keys; at the end where there are none yet.

    Raises:
        DataError: there is no such file, or the first mark has no second one.
    """
    if not path.is_file():
        raise DataError(f"there is no {path} to write results into")
    text = path.read_text(encoding="utf-8")
    name = f"sweep {record.recipe} by {' '.join(record.varied)}"
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = f"{first}\n{sweep_markdown(record, by_language=by_language)}{last}"
    if first in text:
        if last not in text.partition(first)[2]:
            raise DataError(f"{path} has the mark {first} but not {last} after it; put it back or remove the first")
        pattern = re.escape(first) + ".*?" + re.escape(last)
        text = re.sub(pattern, lambda _: block, text, count=1, flags=re.DOTALL)
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    write_atomic(path, text)


def outcome(record: SweepRecord) -> list[str]:
    """What the table says, in words, from numbers alone."""
    sentences = []
    students = [scored for scored in record.lines if scored.line.role == "student"]
    for scope in SCOPES:
        for reference in record.references:
            tests = [
                (line_name(record, s), s.differences[reference, scope])
                for s in students
                if (reference, scope) in s.differences
            ]
            if tests:
                kinds = {"above": 1.0, "below": -1.0, "not distinguishable": 0.0}
                told = [
                    f"{kind}: {', '.join(names)}"
                    for kind, sign in kinds.items()
                    if (names := [name for name, test in tests if _sign(test) == sign])
                ]
                sentences.append(f"Against {reference} on {scope} languages: {'; '.join(told)}.")
        ranked = sorted((s for s in students if scope in s.scores), key=lambda s: -s.scores[scope].value)
        if ranked:
            best = ranked[0]
            sentences.append(
                f"The highest mean on {scope} languages is that of {line_name(record, best)}, "
                f"{best.scores[scope].value:.2f} (picked by this very score)."
            )
    tests_made = sum(len(s.differences.keys() & {(r, c) for r in record.references for c in SCOPES}) for s in students)
    if tests_made > 1:
        sentences.append(f"{tests_made} tests at 5%: expect about {0.05 * tests_made:.1f} to point at nothing.")
    return sentences


def line_name(record: SweepRecord, scored: ScoredLine) -> str:
    """The method and the settings that tell a line from the others."""
    cells = zip(_columns(record), _settings(record, scored), strict=True)
    told = [f"{short} {text}" for short, text in cells if text not in ("any", DASH)]
    return scored.line.method + (f" ({', '.join(told)})" if told else "")


def _named(record: SweepRecord, grid: Grid) -> Grid:
    """Method and settings in one column, which every block of a table repeats."""
    columns = _columns(record)
    named = [[grid[0][0], *grid[0][1 + len(columns) :]]]
    for row in grid[1:]:
        cells = zip(columns, row[1 : 1 + len(columns)], strict=True)
        told = [f"{name} {text}" for name, text in cells if text != "any"]
        named.append([row[0] + (f" ({', '.join(told)})" if told else ""), *row[1 + len(columns) :]])
    return named


def machine(environment: Mapping[str, object]) -> str:
    """The machine and the versions that numbers were made with."""
    packages = environment.get("packages")
    torch = packages.get("torch") if isinstance(packages, dict) else None
    gpus = environment.get("gpus")
    devices = [f"{environment.get('cores')} cores {environment.get('processor')}"]
    devices += [str(name) for name in gpus] if isinstance(gpus, list) else []
    return f"{', '.join(devices)}; structkd {environment.get('structkd')}, torch {torch}"


def _sign(test: Difference) -> float:
    return (1.0 if test.value > 0 else -1.0) if test.is_distinguishable else 0.0


def _caption(record: SweepRecord) -> str:
    metric = "F1" if record.metric == "f1" else record.metric.capitalize()
    seeds = ", ".join(str(seed) for seed in record.seeds)
    number = f"mean ± standard deviation over seeds {seeds}" if len(record.seeds) > 1 else f"seed {seeds}"
    trained = {"varied": ", teachers trained anew for each seed", "same": ", the same teachers for all seeds"}
    return (
        f"{metric} in percent on test sets, {number}{trained.get(record.teacher_seeds or '', '')}. Differences in "
        "points [95% interval over sentences and seeds]; * marks those that can be told from chance (p < 0.05)."
    )


def _columns(record: SweepRecord) -> list[str]:
    """Heads of the varied keys: their last part where that is enough to tell them apart."""
    keys = [key for key in record.varied if key != OBJECTIVE]
    short = [key.rpartition(".")[2] for key in keys]
    return [name if short.count(name) == 1 else key for name, key in zip(short, keys, strict=True)]


def _settings(record: SweepRecord, scored: ScoredLine) -> list[str]:
    """The values that a line stands for: `any` where the key does not touch its models."""
    texts = []
    for key, values in record.varied.items():
        if key == OBJECTIVE:
            continue
        found = {point[key] for point in scored.line.points}
        shown = _shortened(values)
        told = [text for value, text in zip(values, shown, strict=True) if value in found]
        texts.append("any" if len(found) == len(values) > 1 else ", ".join(told))
    return texts


def _shortened(values: tuple[str, ...]) -> list[str]:
    """Values as a table shows them: long ones by their beginning, if that still tells them apart."""
    short = [value if len(value) <= 20 else f"{value[:17]}..." for value in values]
    return short if len(set(short)) == len(short) else list(values)


def _main_grid(record: SweepRecord) -> Grid:
    scopes = [scope for scope in SCOPES if record.languages[scope]]
    head = ["method", *_columns(record)]
    for scope in scopes:
        head += [scope, *(f"{scope}: minus {name}" for name in record.references)]
    grid = [head]
    for scored in record.lines:
        row = [_NAMES.get(scored.line.method, scored.line.method), *_settings(record, scored)]
        for scope in scopes:
            row.append(_score_text(scored.scores.get(scope)))
            row += [_difference_text(scored.differences.get((name, scope))) for name in record.references]
        grid.append(row)
    return grid


def _language_grids(record: SweepRecord) -> list[Grid]:
    grids = []
    for scope in SCOPES:
        names = record.languages[scope]
        if names:
            grid = [[f"{scope}", *_columns(record), *names]]
            grid += [
                [
                    _NAMES.get(scored.line.method, scored.line.method),
                    *_settings(record, scored),
                    *(_score_text(scored.scores.get(name)) for name in names),
                ]
                for scored in record.lines
                if any(name in scored.scores for name in names)
            ]
            grids.append(grid)
    return grids


def _score_text(score: Score | None) -> str:
    if score is None:
        return DASH
    return f"{score.value:.2f}" + ("" if score.deviation is None else f" ±{score.deviation:.2f}")


def _difference_text(found: Difference | None) -> str:
    if found is None:
        return DASH
    low, high = (signed(end).removeprefix("+") for end in (found.low, found.high))
    return f"{signed(found.value)} [{low}, {high}]{'*' if found.is_distinguishable else ' '}"
