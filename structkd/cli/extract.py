"""`structkd extract`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from structkd.cli.imports import Import, ImportLanguage, run_import
from structkd.cli.options import RUNS, Backend, Debug, Device, DryRun, Jobs, Json, Overrides, Runs, Seed
from structkd.cli.stage import RecipeName, load, run_until, show_plan

if TYPE_CHECKING:
    from structkd.recipe import Recipe
    from structkd.stages import StoreSummary

Check = Annotated[bool, typer.Option("--check", help="Only read every shard and name the damaged ones (status 4).")]
Repair = Annotated[bool, typer.Option("--repair", help="Say which shards are damaged, and redo only those.")]


def command(
    recipe: RecipeName,
    overrides: Overrides,
    check: Check = False,
    repair: Repair = False,
    annotations: Import = None,
    language: ImportLanguage = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    backend: Backend = None,
    seed: Seed = None,
    jobs: Jobs = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the teachers if need be, extract their knowledge, and say what it weighs; or import annotations."""
    from structkd.errors import UsageError
    from structkd.stages import store_faults_of, summaries

    if check and repair:
        raise UsageError("got --check and --repair; --repair checks too, give one of them")
    loaded = load(recipe, overrides, seed)
    if annotations is not None:
        run_import(loaded, annotations, runs, language, as_json)
        return
    if dry_run:
        show_plan(loaded, runs, "extract", as_json)
        return
    if check:
        _refuse_faults(loaded, runs)
    else:
        for fault in store_faults_of(loaded, runs) if repair else ():
            typer.echo(f"redoing: {fault}", err=True)
        run_until("extract", loaded, runs, device, backend, jobs)
    _show(summaries(loaded, runs), as_json)


def _refuse_faults(recipe: Recipe, runs: Path) -> None:
    from structkd.errors import IntegrityError
    from structkd.stages import store_faults_of

    faults = store_faults_of(recipe, runs)
    if faults:
        raise IntegrityError(
            "knowledge is damaged or missing; `structkd extract --repair` redoes only that:\n  " + "\n  ".join(faults)
        )


def _show(rows: list[StoreSummary], as_json: bool) -> None:
    if as_json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return
    width = max(len("text"), *(len(row.text) for row in rows))
    print(f"{'text':<{width}}  {'sentences':>9}  {'tokens':>9}  {'MB':>7}  {'bytes/token':>11}  {'sentences/s':>11}")
    for row in rows:
        speed = f"{row.sentences_per_second:>11.0f}" if row.sentences_per_second else f"{'-':>11}"
        print(
            f"{row.text:<{width}}  {row.sentences:>9}  {row.tokens:>9}  {row.bytes / 1e6:>7.2f}  "
            f"{row.bytes_per_token:>11.1f}  {speed}"
        )
