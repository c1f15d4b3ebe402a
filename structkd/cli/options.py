"""Options that several verbs share, spelt alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="A.B=VALUE",
        default_factory=list,
        help="Change a value of the recipe; list items by number. Repeat it for more.",
    ),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where run directories are.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Backend = Annotated[str | None, typer.Option("--backend", help="Kernel backend; left out, the best that runs.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Only this seed instead of the recipe's.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes side by side; left out: all cores, or 1 on a GPU.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and log more.")]

RUNS = Path("runs")
