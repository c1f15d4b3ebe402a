"""Write both reports of a run."""

from __future__ import annotations

from pathlib import Path

from structkd.report.html import html_report
from structkd.report.markdown import markdown_report
from structkd.report.run_record import read_run
from structkd.storage import write_atomic


def write_report(run_directory: Path) -> tuple[Path, Path]:
    """Read a run directory and write `report.html` and `report.md` into it.

    Args:
        run_directory: with scores.json, recipe.yaml, environment.json, evaluation/ and histories beside the models;
            what is missing is named in the reports.

    Returns:
        Paths of the page and of the Markdown file.

    Raises:
        UsageError: there is no such folder.
        IntegrityError: a file is damaged, or scores and counts disagree.
    """
    record = read_run(run_directory)
    page, text = run_directory / "report.html", run_directory / "report.md"
    write_atomic(page, html_report(record))
    write_atomic(text, markdown_report(record))
    return page, text
