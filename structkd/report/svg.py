"""Drawing by hand: SVG elements, scales and the marks of the methods. Colours are CSS classes of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from structkd.report.gains import MINUS
from structkd.report.summary import Line, Summary

STUDENT_COLOURS = 6  # classes student-0 ... student-5 in report.css


def element(tag: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One SVG element; text and values are escaped, `class_` becomes class and `text_anchor` text-anchor."""
    parts = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for name, value in attributes.items()
        if value is not None
    ]
    inner = Markup("").join(children)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, Markup("".join(parts)), inner)


def drawing(name: str, title: str, description: str, height: float, content: Iterable[Markup], width: float) -> Markup:
    """A whole picture with its title and text alternative.

    Args:
        name: unique in the page, for the ids that the labels refer to.
        title: what a screen reader says first.
        description: the numbers in words.
        height: of the view box.
        content: what is drawn.
        width: of the view box; the picture scales with the page.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-text"),
        *content,
        viewBox=f"0 0 {_text(width)} {_text(height)}",
        role="img",
        aria_labelledby=f"{name}-title {name}-text",
        class_="plot",
    )


def label(text: str, x: float, y: float, *, anchor: str = "start", kind: str | None = None) -> Markup:
    """Text with its baseline at y."""
    return element("text", text, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=kind)


@dataclass(frozen=True)
class Scale:
    """A linear axis with round ticks.

    Attributes:
        low: data value at `start`.
        high: data value at `end`.
        start: position of `low`.
        end: position of `high`.
        ticks: round values between low and high.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def fit(cls, values: Sequence[float], start: float, end: float, *, ticks: int = 5, margin: float = 0.04) -> Scale:
        """A scale that holds all values, with about as many ticks as asked for."""
        low, high = min(values), max(values)
        span = (high - low) or max(abs(high), 1.0) * 0.1
        low, high = low - margin * span, high + margin * span
        step = _round_step((high - low) / ticks)
        first, last = math.ceil(low / step), math.floor(high / step)
        return cls(low, high, start, end, tuple(round(i * step, 10) for i in range(first, last + 1)))

    def __call__(self, value: float) -> float:
        """Position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def tick_text(self, value: float) -> str:
        """A tick with as many digits as neighbours need to differ."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}".replace("-", MINUS)


def vertical_grid(scale: Scale, top: float, bottom: float) -> list[Markup]:
    """Grid lines of a horizontal axis and their labels below."""
    drawn = []
    for tick in scale.ticks:
        x = scale(tick)
        drawn.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        drawn.append(label(scale.tick_text(tick), x, bottom + 15, anchor="middle", kind="tick"))
    return drawn


def whisker(scale: Scale, low: float, high: float, y: float, kind: str = "whisker") -> Markup:
    """An interval as a horizontal line."""
    return element("line", x1=scale(low), x2=scale(high), y1=y, y2=y, class_=kind)


def mark(slot: str, x: float, y: float, size: float = 4.0) -> Markup:
    """The mark of a method: each kind has a form of its own, so that no colour has to be told apart."""
    family = slot.partition("-")[0]
    if family == "teacher":
        r = size * 1.3
        return element("path", d=_polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)]), class_="mark hollow")
    if family == "ensemble":
        r = size * 1.2
        return element("path", d=_polygon([(x, y - r), (x + r, y + r), (x - r, y + r)]), class_="mark hollow")
    if family in ("matched", "control"):
        r = size * 0.9
        kind = "mark" if family == "control" else "mark hollow"
        return element("rect", x=x - r, y=y - r, width=2 * r, height=2 * r, class_=kind)
    return element("circle", cx=x, cy=y, r=size, class_="mark" if family == "student" else "mark hollow")


def slots(summary: Summary) -> dict[str, str]:
    """Key of each line -> class that gives its colour and form."""
    chosen = {}
    students = 0
    for line in summary.lines:
        chosen[line.key] = _slot(line)
        if line.role == "student":
            chosen[line.key] = f"student-{students % STUDENT_COLOURS}"
            students += 1
    return chosen


def key_mark(slot: str) -> Markup:
    """A mark for the key above a figure; it says nothing that the text beside it does not say."""
    return element(
        "svg", mark(slot, 7, 7, 4.5), viewBox="0 0 14 14", width=14, height=14, class_=f"key {slot}", aria_hidden="true"
    )


def polyline(points: Sequence[tuple[float, float]], kind: str = "curve") -> Markup:
    """A line through points."""
    return element("polyline", points=" ".join(f"{_text(x)},{_text(y)}" for x, y in points), class_=kind)


def _slot(line: Line) -> str:
    if line.role == "baseline":
        return "baseline" if line.key == "baseline" else "matched"
    return line.role if line.role in ("teacher", "ensemble", "control") else "matched"


def _polygon(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_text(x)} {_text(y)}" for x, y in corners) + "Z"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.75)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
