"""report.md: the same tables and words without pictures."""

from __future__ import annotations

from structkd.report.breakdown import breakdowns
from structkd.report.gains import compare
from structkd.report.html import facts, notes
from structkd.report.run_record import RunRecord
from structkd.report.summary import SCOPES, summarise
from structkd.report.table import Grid, gain_grid, score_grid, teacher_note
from structkd.report.verdict import overview, verdict


def markdown_report(record: RunRecord) -> str:
    """The report of a run as Markdown."""
    parts = [f"# {plain(record.name)}"]
    if record.description:
        parts.append(plain(record.description))
    if record.missing:
        parts.append("**Not in this run directory**\n\n" + _items(record.missing))
    summary = summarise(record.rows)
    if summary is not None:
        comparison = compare(summary, record.models)
        parts.append(", ".join(facts(summary)) + ".")
        outcome = overview(summary, comparison) + verdict(summary, comparison)
        outcome = outcome or ["No student was scored: there is nothing to compare yet."]
        parts += ["## Outcome", "\n\n".join(plain(sentence) for sentence in outcome)]
        for scope in SCOPES:
            if summary.languages[scope]:
                parts.append(f"## {scope.capitalize()} languages{teacher_note(summary, scope)}")
                parts.append(markdown_table(score_grid(summary, scope)))
        gains = gain_grid(summary, comparison)
        if gains:
            parts.append(
                f"## What distillation bought\n\nDifference in points of {summary.metric_name} [95% interval]."
            )
            parts.append(markdown_table(gains))
        for finer in breakdowns(summary, record.rows):
            parts += [f"### {finer.title}", markdown_table(finer.grid)]
        corpora = [[name, summary.corpora[name], f"{summary.sentences[name]:,}"] for name in summary.all_languages]
        parts += ["## Corpora", markdown_table([["language", "corpus", "sentences"], *corpora])]
        parts += ["## How these numbers were made", _items(notes(summary))]
    if record.recipe:
        fence = "`" * 3 if "```" not in record.recipe else "`" * 6
        parts.append(f"## Recipe\n\n{fence}yaml\n{record.recipe.rstrip()}\n{fence}")
    if record.environment:
        parts += ["## Environment", markdown_table([["", ""], *([name, value] for name, value in record.environment)])]
    return "\n\n".join(parts) + "\n"


def markdown_table(grid: Grid) -> str:
    """A grid, head first, as a Markdown table."""
    lines = ["| " + " | ".join(plain(text) for text in row) + " |" for row in grid]
    return "\n".join([lines[0], "|---" + "|--:" * (len(grid[0]) - 1) + "|", *lines[1:]])


def _items(texts: tuple[str, ...] | list[str]) -> str:
    return "\n".join(f"- {plain(text)}" for text in texts)


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in ("\\", "|", "*", "_", "`", "<", "["):
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
