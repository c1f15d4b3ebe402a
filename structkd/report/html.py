"""report.html: one file without outside resources, for eyes, phones and screen readers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from structkd.report.breakdown import breakdowns
from structkd.report.curves import curve_panels
from structkd.report.gains import Comparison, compare, gain_text, p_text
from structkd.report.plots import Panel, gain_panels, language_panels, seed_panels
from structkd.report.run_record import RunRecord
from structkd.report.summary import SCOPES, Summary, summarise
from structkd.report.svg import key_mark, slots
from structkd.report.table import Grid, gain_grid, score_grid, teacher_note
from structkd.report.verdict import overview, verdict


@dataclass(frozen=True)
class Card:
    """The outcome of one student at a glance.

    Attributes:
        title: its objective.
        mark: its mark in the figures.
        numbers: (scope, mean, deviation or nothing).
        gains: (scope, reference, difference with interval, one of `above`, `below`, `alike`, `untested`).
    """

    title: str
    mark: Markup
    numbers: tuple[tuple[str, str, str], ...]
    gains: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        name: its anchor in the page.
        title: its heading.
        caption: how to read it.
        panels: its pictures.
        keyed: whether the key of the methods stands above it.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    keyed: bool


@dataclass(frozen=True)
class Table:
    """A table of the report: heading, grid with its head first, and the rows that are students."""

    title: str
    grid: Grid
    students: frozenset[str]


def html_report(record: RunRecord) -> str:
    """The page of a run."""
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    summary = summarise(record.rows)
    style = Markup((here / "report.css").read_text(encoding="utf-8"))  # our own file: nothing in it to escape
    template = environment.get_template("report.html.j2")
    if summary is None:
        return template.render(record=record, summary=None, style=style)
    comparison = compare(summary, record.models)
    place = slots(summary)
    return template.render(
        record=record,
        summary=summary,
        style=style,
        facts=facts(summary),
        overview=overview(summary, comparison),
        verdict=[_unbroken(sentence) for sentence in verdict(summary, comparison)],
        cards=_cards(summary, comparison),
        key=[(line.title, key_mark(place[line.key])) for line in summary.lines],
        tables=_tables(summary),
        gains=gain_grid(summary, comparison),
        figures=_figures(summary, comparison, record),
        breakdowns=[Table(table.title, table.grid, frozenset()) for table in breakdowns(summary, record.rows)],
        corpora=[(name, summary.corpora[name], summary.sentences[name]) for name in summary.all_languages],
        notes=notes(summary),
    )


def facts(summary: Summary) -> list[str]:
    """What was measured, in a few words each."""
    tasks = {"pos": "part-of-speech tagging", "ner": "named entities, strict spans"}
    languages = [f"{len(summary.languages[scope])} {scope}" for scope in SCOPES if summary.languages[scope]]
    return [
        tasks.get(summary.task, summary.task),
        f"{summary.metric_name} on {summary.split} sets",
        " and ".join(languages) + " languages",
        f"{summary.seeds} seeds" if summary.seeds != 1 else "one seed",
    ]


def notes(summary: Summary) -> list[str]:
    """How the numbers were made."""
    several = "Values are means over seeds; ± is the sample standard deviation over seeds."
    single = "Each method was trained once: nothing here tells how much a second training would differ."
    return [
        several if summary.seeds > 1 else single,
        "Intervals of single languages are 95% percentile bootstraps over sentences.",
        "Differences and macro averages are resampled in pairs: the same sentences for both systems inside each"
        " language, and the seeds of each system; languages weigh the same. p-values are two-sided and not adjusted"
        " for the number of comparisons.",
        "Distinguishable means: the interval excludes zero and p is below 0.05.",
        "Teachers stand on their own language; on unseen languages the best teacher of each is shown, chosen by the"
        " very score that is printed, so that line is an upper bound and no control.",
    ]


def _unbroken(sentence: str) -> str:
    """Intervals stay on one line."""
    return re.sub(r" \[([^]]*), ([^]]*)\]", "\u00a0[\\1,\u00a0\\2]", sentence)


def _cards(summary: Summary, comparison: Comparison) -> list[Card]:
    place = slots(summary)
    titles = {line.key: line.title for line in summary.references}
    cards = []
    for student in summary.students:
        numbers, gains = [], []
        for scope in SCOPES:
            if scope not in student.means:
                continue
            mean = student.means[scope]
            numbers.append((scope, f"{mean.value:.2f}", "" if mean.deviation is None else f"±{mean.deviation:.2f}"))
            for gain in comparison.of(student.key, scope):
                kind = "untested"
                if gain.test is not None:
                    kind = "alike" if not gain.test.is_distinguishable else "above" if gain.value > 0 else "below"
                text = gain_text(gain)
                if gain.test is None:
                    text += ", not tested"
                elif kind == "alike":
                    text += f", {p_text(gain.test.p_value)}"
                gains.append((scope, titles[gain.reference], text, kind))
        cards.append(Card(student.key, key_mark(place[student.key]), tuple(numbers), tuple(gains)))
    return cards


def _tables(summary: Summary) -> list[Table]:
    students = frozenset(line.title for line in summary.students)
    return [
        Table(f"{scope.capitalize()} languages{teacher_note(summary, scope)}", score_grid(summary, scope), students)
        for scope in SCOPES
        if summary.languages[scope]
    ]


def _figures(summary: Summary, comparison: Comparison, record: RunRecord) -> list[Figure]:
    figures = [
        Figure(
            "gains",
            "What distillation bought",
            f"Student minus each control, in points of {summary.metric_name}. The mark is the macro average over"
            " languages, the bar its 95% interval, each thin tick one language. Right of zero the student is better.",
            gain_panels(summary, comparison),
            False,
        ),
        Figure(
            "languages",
            "Every language",
            "The mark is the mean over seeds, the bar its 95% interval. The two panels have scales of their own.",
            language_panels(summary, comparison),
            True,
        ),
        Figure(
            "runs",
            "Every training run",
            "One dot a seed, the macro average over languages; the upright bar is the mean.",
            seed_panels(summary),
            False,
        ),
        Figure(
            "curves",
            "Learning curves",
            "One line a seed. Losses of different objectives share no scale; compare shapes, not heights.",
            curve_panels(summary, record.histories),
            False,
        ),
    ]
    return [figure for figure in figures if figure.panels]
