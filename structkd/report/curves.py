"""Learning curves: training loss method by method, and scores on the dev sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from structkd.report.plots import Panel
from structkd.report.run_record import Point
from structkd.report.summary import Line, Summary
from structkd.report.svg import Scale, drawing, element, label, polyline, slots

_WIDTH, _HEIGHT = 260.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, _WIDTH - 6, 10.0, _HEIGHT - 34
_POINTS = 100  # a curve of more points is averaged down to this many


def curve_panels(summary: Summary, histories: Mapping[str, Sequence[Point]]) -> list[Panel]:
    """One small picture per method for the loss, since losses of different objectives share no scale; dev scores after.

    Args:
        summary: the main table, for titles and colours.
        histories: model -> training history.

    Returns:
        Panels; none where nothing was logged.
    """
    place = slots(summary)
    panels = []
    for measured in ("loss", "dev"):
        for line in summary.lines:
            curves = _curves(line, histories, measured)
            if curves:
                heading = f"{line.title}: {'training loss' if measured == 'loss' else 'dev score'}"
                panels.append(Panel(heading, _picture(f"{measured}-{line.key}", heading, curves, place[line.key])))
    return panels


def _curves(
    line: Line, histories: Mapping[str, Sequence[Point]], measured: str
) -> dict[str, list[tuple[float, float]]]:
    models = dict.fromkeys(model for models in line.models.values() for model in models)
    found = {}
    for model in models:
        values = [(point.step, getattr(point, measured)) for point in histories.get(model, ())]
        points = _thinned([(step, value) for step, value in values if value is not None])
        if points:
            found[model] = points
    return found


def _picture(name: str, title: str, curves: Mapping[str, Sequence[tuple[float, float]]], slot: str) -> Markup:
    steps = [step for points in curves.values() for step, _ in points]
    values = [value for points in curves.values() for _, value in points]
    x = Scale.fit([0.0, *steps], _LEFT, _RIGHT, ticks=3, margin=0.0)
    y = Scale.fit(values, _BOTTOM, _TOP, ticks=4)
    drawn = []
    for tick in y.ticks:
        drawn.append(element("line", x1=_LEFT, x2=_RIGHT, y1=y(tick), y2=y(tick), class_="grid"))
        drawn.append(label(y.tick_text(tick), _LEFT - 6, y(tick) + 4, anchor="end", kind="tick"))
    for tick in x.ticks:
        drawn.append(
            label(
                f"{tick:,.0f}", x(tick), _BOTTOM + 15, anchor="end" if x(tick) > _RIGHT - 15 else "middle", kind="tick"
            )
        )
    drawn.append(label("optimiser steps", _RIGHT, _BOTTOM + 30, anchor="end", kind="tick"))
    words = []
    for model, points in curves.items():
        placed = [(x(step), y(value)) for step, value in points]
        text = f"{model}: from {points[0][1]:.2f} to {points[-1][1]:.2f} at step {points[-1][0]:,.0f}"
        shape = (
            polyline(placed)
            if len(placed) > 1
            else element("circle", cx=placed[0][0], cy=placed[0][1], r=3, class_="dot")
        )
        drawn.append(element("g", element("title", text), shape, class_=slot))
        words.append(text)
    return drawing(f"curve-{name}", title, "; ".join(words) + ".", _HEIGHT, drawn, _WIDTH)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Neighbours averaged, so that no more than `_POINTS` remain; the last step stays the last."""
    size = -(-len(points) // _POINTS) if points else 1
    chunks = [points[i : i + size] for i in range(0, len(points), size)]
    return [(chunk[-1][0], sum(value for _, value in chunk) / len(chunk)) for chunk in chunks]
