"""`structkd extract`."""

from __future__ import annotations

from structkd.cli.imports import Import, ImportLanguage, run_import
from structkd.cli.options import RUNS, Backend, Debug, Device, DryRun, Jobs, Json, Overrides, Runs, Seed
from structkd.cli.stage import RecipeName, stage_command


def command(
    recipe: RecipeName,
    overrides: Overrides,
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
    """Train the teachers if need be, and extract their knowledge; or import annotations."""
    from structkd.recipe import load_recipe

    if annotations is not None:
        run_import(load_recipe(recipe, overrides), annotations, runs, language, as_json)
        return
    stage_command("extract", "")(recipe, overrides, runs, device, backend, seed, jobs, dry_run, as_json, debug)
