"""What the verbs of the main job share: their options, and running a recipe up to a stage."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from structkd.cli.options import RUNS, Backend, Debug, Device, DryRun, Jobs, Json, Overrides, Runs, Seed

if TYPE_CHECKING:
    from structkd.recipe import Recipe
    from structkd.stages import RunDirectory

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path of its YAML file.")]


def stage_command(until: str, text: str) -> Callable[..., None]:
    """The command of a verb that runs the stages of a recipe up to `until`."""

    def command(
        recipe: RecipeName,
        overrides: Overrides,
        runs: Runs = RUNS,
        device: Device = "auto",
        backend: Backend = None,
        seed: Seed = None,
        jobs: Jobs = None,
        dry_run: DryRun = False,
        as_json: Json = False,
        debug: Debug = False,
    ) -> None:
        loaded = load(recipe, overrides, seed)
        if dry_run:
            show_plan(loaded, runs, until, as_json)
            return
        directory = run_until(until, loaded, runs, device, backend, jobs)
        _show_result(directory, until, as_json)

    command.__doc__ = text
    return command


def load(recipe: str, overrides: list[str], seed: int | None) -> Recipe:
    """The recipe that the options mean."""
    from structkd.recipe import load_recipe

    return load_recipe(recipe, overrides if seed is None else [*overrides, f"seeds=[{seed}]"])


def run_until(
    until: str, recipe: Recipe, runs: Path, device: str, backend: str | None, jobs: int | None
) -> RunDirectory:
    """Run the stages up to `until` with progress on stderr."""
    from structkd.cli.display import RichDisplay
    from structkd.stages import run

    device, workers = resources(recipe, device, jobs)
    with RichDisplay() as display:
        return run(recipe, runs, until=until, workers=workers, device=device, backend=backend, display=display)


def resources(recipe: Recipe, device: str, jobs: int | None) -> tuple[str, int]:
    """The device and the number of processes that the options mean on this machine; sets up this process for them."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = jobs or ((os.cpu_count() or 1) if device == "cpu" else 1)
    if workers == 1 and device == "cpu" and recipe.student.encoder.type == "recurrent":
        # Small recurrent models are slower on several threads than on one.
        torch.set_num_threads(1)
    return device, workers


def show_plan(recipe: Recipe, runs: Path, until: str, as_json: bool) -> None:
    """Print what would be done."""
    from structkd.stages import STAGES, Context, RunDirectory, make_plan

    plan = make_plan(recipe)
    context = Context(recipe, RunDirectory(runs / recipe.name), "cpu")
    rows = [
        {"stage": stage, "job": job.title, "up_to_date": job.is_done(context)}
        for stage in STAGES[: STAGES.index(until) + 1]
        for job in getattr(plan, stage, [])
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['stage']:<9} {row['job']:<34} {'up to date' if row['up_to_date'] else 'to do'}")


def _show_result(directory: RunDirectory, until: str, as_json: bool) -> None:
    if until in ("evaluate", "report"):
        show_scores(directory.path, as_json, with_report=until == "report")
    elif as_json:
        print(json.dumps({"run": str(directory.path)}))
    else:
        print(directory.path)


def show_scores(directory: Path, as_json: bool, *, with_report: bool) -> None:
    """Print the scores of a run directory: the table, or the rows of scores.json."""
    from structkd.report import read_run, text_table

    if as_json:
        print((directory / "scores.json").read_text(encoding="utf-8"), end="")
        return
    record = read_run(directory)
    print(text_table(record.rows, record.models))
    if with_report:
        print(f"\nreport: {directory / 'report.html'}")
