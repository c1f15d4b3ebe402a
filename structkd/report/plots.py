"""The figures about scores: every language, what distillation bought, every training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from structkd.report.gains import Comparison, Gain, gain_text, p_text, signed
from structkd.report.summary import SCOPES, Cell, Line, Summary
from structkd.report.svg import Scale, drawing, element, label, mark, slots, vertical_grid, whisker
from structkd.report.table import cell_text

WIDTH = 400.0
_RIGHT = WIDTH - 8


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        heading: above the picture.
        picture: the SVG.
    """

    heading: str
    picture: Markup


def language_panels(summary: Summary, comparison: Comparison) -> list[Panel]:
    """Every method on every language, seen and unseen, with 95% intervals."""
    return [
        Panel(_heading(summary, scope), _languages(summary, comparison, scope))
        for scope in SCOPES
        if summary.languages[scope]
    ]


def gain_panels(summary: Summary, comparison: Comparison) -> list[Panel]:
    """Student minus each reference: the macro average with its interval, and each language as a small tick."""
    panels = []
    for scope in SCOPES:
        gains = [gain for gain in comparison.gains if gain.scope == scope]
        if gains:
            panels.append(Panel(_heading(summary, scope), _gains(summary, gains, scope)))
    return panels


def seed_panels(summary: Summary) -> list[Panel]:
    """The macro average of every training run, method by method; nothing where each method was trained once."""
    if summary.seeds < 2:
        return []
    panels = []
    for scope in SCOPES:
        lines = [line for line in summary.lines if scope in line.means and line.role not in ("teacher", "ensemble")]
        if lines:
            panels.append(Panel(_heading(summary, scope), _seeds(summary, lines, scope)))
    return panels


def _heading(summary: Summary, scope: str) -> str:
    number = len(summary.languages[scope])
    return f"{number} {scope} {'language' if number == 1 else 'languages'}"


def _languages(summary: Summary, comparison: Comparison, scope: str) -> Markup:
    languages = summary.languages[scope]
    bands: list[tuple[str, list[tuple[Line, Cell, tuple[float, float] | None]]]] = []
    for language in languages:
        cells = [(line, line.cells[language]) for line in summary.lines if language in line.cells]
        bands.append((language, [(line, cell, _ends(cell)) for line, cell in cells]))
    if len(languages) > 1:
        means = [(line, line.means[scope]) for line in summary.lines if scope in line.means]
        if means:
            bands.append(("mean", [(m, cell, comparison.intervals.get((m.key, scope))) for m, cell in means]))
    values = [v for _, band in bands for _, cell, ends in band for v in (cell.value, *(ends or ()))]
    gutter = 12 + 7.5 * max(len(name) for name, _ in bands)
    scale = Scale.fit(values, gutter + 6, _RIGHT)
    place, step = slots(summary), 12.0
    y, stripes, drawn, words = 4.0, [], [], []
    for i, (name, band) in enumerate(bands):
        height = step * len(band) + 10
        if i % 2 == 0:
            stripes.append(element("rect", x=0, y=y, width=WIDTH, height=height, class_="band"))
        drawn.append(label(name, 8, y + height / 2 + 4, kind="strong" if name == "mean" else None))
        for row, (line, cell, ends) in enumerate(band):
            at = y + 5 + step * (row + 0.5)
            text = f"{name}, {line.title}: {cell_text(cell)}" + (
                f", 95% {ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
            )
            parts = [element("title", text)]
            if ends:
                parts.append(whisker(scale, ends[0], ends[1], at))
            parts.append(mark(place[line.key], scale(cell.value), at))
            drawn.append(element("g", *parts, class_=place[line.key]))
            words.append(text)
        y += height
    grid = vertical_grid(scale, 4, y)
    caption = label(f"{summary.metric_name}, %", _RIGHT, y + 31, anchor="end", kind="tick")
    title = f"{summary.metric_name} of every method on {_heading(summary, scope)}"
    return drawing(
        f"languages-{scope}", title, "; ".join(words) + ".", y + 38, [*stripes, *grid, *drawn, caption], WIDTH
    )


def _gains(summary: Summary, gains: Sequence[Gain], scope: str) -> Markup:
    titles = {line.key: line.title for line in summary.lines}
    place, several = slots(summary), len(summary.students) > 1
    values = [0.0]
    for gain in gains:
        values += [gain.value, *gain.by_language.values()]
        values += [gain.test.low, gain.test.high] if gain.test else []
    scale = Scale.fit(values, 10, _RIGHT)
    y, drawn, words = 2.0, [], []
    references = [line.key for line in summary.references if any(gain.reference == line.key for gain in gains)]
    for reference in references:
        drawn.append(
            label(f"minus {titles[reference]}" if several else titles[reference], 8, y + 14, kind="label strong")
        )
        y += 22 if several else 4
        for gain in (gain for gain in gains if gain.reference == reference):
            text = f"{gain.student} minus {titles[reference]}: {gain_text(gain)}"
            text += f", {p_text(gain.test.p_value)}" if gain.test else ", not tested"
            if several:
                drawn.append(label(gain.student, 8, y + 10, kind="label"))
            drawn.append(label(_value_text(gain), _RIGHT, y + 10, anchor="end", kind="label number"))
            at = y + 22
            ticks = [
                element(
                    "line",
                    element("title", f"{name}: {signed(value)}"),
                    x1=scale(value),
                    x2=scale(value),
                    y1=at - 5,
                    y2=at + 5,
                    class_="rug",
                )
                for name, value in gain.by_language.items()
            ]
            ends = [whisker(scale, gain.test.low, gain.test.high, at, "whisker thick")] if gain.test else []
            point = mark(place[gain.student], scale(gain.value), at, 5)
            drawn.append(element("g", element("title", text), *ticks, *ends, point, class_=place[gain.student]))
            words.append(text + " (" + ", ".join(f"{n} {signed(v)}" for n, v in gain.by_language.items()) + ")")
            y += 34 if several else 36
        y += 12 if several else 4
    grid = vertical_grid(scale, 2, y)
    zero = element("line", x1=scale(0), x2=scale(0), y1=2, y2=y, class_="zero")
    caption = label(f"points of {summary.metric_name}", _RIGHT, y + 31, anchor="end", kind="tick")
    title = f"Student minus each control on {_heading(summary, scope)}"
    return drawing(f"gains-{scope}", title, "; ".join(words) + ".", y + 38, [*grid, zero, *drawn, caption], WIDTH)


def _value_text(gain: Gain) -> str:
    if gain.test is None:
        return f"{signed(gain.value)}, not tested"
    return gain_text(gain) + ("" if gain.test.is_distinguishable else f", {p_text(gain.test.p_value)}")


def _seeds(summary: Summary, lines: Sequence[Line], scope: str) -> Markup:
    place = slots(summary)
    scale = Scale.fit([value for line in lines for value in line.means[scope].by_seed.values()], 10, _RIGHT)
    y, drawn, words = 2.0, [], []
    for line in lines:
        mean = line.means[scope]
        runs = ", ".join(f"seed {seed} {value:.2f}" for seed, value in mean.by_seed.items())
        text = f"{line.title}: {cell_text(mean)} ({runs})"
        drawn.append(label(line.title, 8, y + 12, kind="label"))
        drawn.append(label(cell_text(mean), _RIGHT, y + 12, anchor="end", kind="label number"))
        at = y + 24
        dots = [
            element("circle", element("title", f"seed {seed}: {value:.2f}"), cx=scale(value), cy=at, r=4, class_="dot")
            for seed, value in mean.by_seed.items()
        ]
        bar = element("line", x1=scale(mean.value), x2=scale(mean.value), y1=at - 8, y2=at + 8, class_="meanline")
        drawn.append(element("g", element("title", text), *dots, bar, class_=place[line.key]))
        words.append(text)
        y += 40
    grid = vertical_grid(scale, 2, y)
    caption = label(f"{summary.metric_name}, %", _RIGHT, y + 31, anchor="end", kind="tick")
    title = f"Macro average of every training run on {_heading(summary, scope)}"
    return drawing(f"seeds-{scope}", title, "; ".join(words) + ".", y + 38, [*grid, *drawn, caption], WIDTH)


def _ends(cell: Cell) -> tuple[float, float] | None:
    return None if cell.low is None or cell.high is None else (cell.low, cell.high)
