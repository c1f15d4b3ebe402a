"""`structkd report`: write the report of a run again, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from structkd.cli.options import RUNS, Debug, Json, Runs
from structkd.cli.stage import show_scores

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run directory, or the name of the recipe that was run.")]


def command(run: Run, runs: Runs = RUNS, as_json: Json = False, debug: Debug = False) -> None:
    """Write report.html and report.md from the scores of a run, and print its table."""
    from structkd.errors import UsageError
    from structkd.report import write_report

    directory = next((path for path in (Path(run), runs / run) if (path / "scores.json").is_file()), None)
    if directory is None:
        raise UsageError(f"no scores.json in {run} or {runs / run}: expected a run directory; use `structkd run` first")
    write_report(directory)
    show_scores(directory, as_json, with_report=True)
