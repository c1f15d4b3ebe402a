"""`structkd sweep`: variants of a recipe as one command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from structkd.cli.options import RUNS, Backend, Debug, Device, DryRun, Jobs, Json, Overrides, Runs
from structkd.cli.stage import RecipeName, resources

if TYPE_CHECKING:
    from structkd.recipe import Variant

Vary = Annotated[
    list[str],
    typer.Option(
        "--vary",
        metavar="KEY=V1,V2",
        default_factory=list,
        help="A key of the recipe and its values; repeat it for the cross product. * is every item of a list.",
    ),
]
Seeds = Annotated[
    int | None, typer.Option("--seeds", min=1, help="How many of the recipe's seeds; left out, all of them.")
]
References = Annotated[
    list[str],
    typer.Option(
        "--reference",
        metavar="METHOD|KEY=VALUE",
        default_factory=list,
        help="What students are tested against: a method, or the same student with another value of a varied key. "
        "Left out: baseline and pseudo-labels.",
    ),
]
Languages = Annotated[bool, typer.Option("--languages", help="Show the scores of each language too.")]
WriteResults = Annotated[
    Path | None,
    typer.Option("--write-results", metavar="FILE", help="Put the table into its marked block of a Markdown file."),
]


def command(
    recipe: RecipeName,
    vary: Vary,
    overrides: Overrides,
    references: References,
    seeds: Seeds = None,
    languages: Languages = False,
    write_into: WriteResults = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    backend: Backend = None,
    jobs: Jobs = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the cross product of variations of a recipe, sharing what is equal, and compare them in one table."""
    from structkd.errors import UsageError
    from structkd.recipe import first_seeds, load_recipe, load_variants, parse_variation

    if not vary:
        raise UsageError("nothing to vary: expected --vary KEY=V1,V2, as in --vary objective=topk,structural")
    if write_into is not None and not write_into.is_file():
        raise UsageError(f"--write-results {write_into}: there is no such file")
    chosen = list(overrides)
    if seeds is not None:
        chosen.append(f"seeds={first_seeds(load_recipe(recipe, overrides).seeds, seeds)}")
    variants = load_variants(recipe, [parse_variation(text) for text in vary], chosen)
    if dry_run:
        _show_plan(variants, runs, references, as_json)
        return
    from structkd.cli.display import RichDisplay
    from structkd.report.sweep_table import sweep_json, sweep_text, write_results
    from structkd.stages.sweep import REFERENCES, sweep

    device, workers = resources(variants[0].recipe, device, jobs)
    with RichDisplay() as display:
        record = sweep(
            variants,
            runs,
            command=_typed(recipe, vary, seeds, overrides, references, languages, write_into),
            references=references or REFERENCES,
            by_language=languages,
            workers=workers,
            device=device,
            backend=backend,
            display=display,
        )
    if write_into is not None:
        write_results(write_into, record, by_language=languages)
    if as_json:
        print(json.dumps(sweep_json(record), indent=2, ensure_ascii=False))
    else:
        print(sweep_text(record, by_language=languages))
        print(f"\ntable: {runs / record.recipe / 'sweep.md'}")


def _typed(
    recipe: str,
    vary: Sequence[str],
    seeds: int | None,
    overrides: Sequence[str],
    references: Sequence[str],
    languages: bool,
    write_into: Path | None,
) -> str:
    """The command that makes these numbers anywhere: without folders and processes of this machine."""
    words = ["structkd", "sweep", recipe]
    words += [word for text in vary for word in ("--vary", text)]
    words += [] if seeds is None else ["--seeds", str(seeds)]
    words += [word for text in overrides if not text.startswith("corpus.root=") for word in ("--set", text)]
    words += [word for text in references for word in ("--reference", text)]
    words += ["--languages"] if languages else []
    words += [] if write_into is None else ["--write-results", str(write_into)]
    return shlex.join(words)


def _show_plan(variants: Sequence[Variant], runs: Path, references: Sequence[str], as_json: bool) -> None:
    from structkd.stages import Context, RunDirectory
    from structkd.stages.sweep import plan_sweep, wanted_references

    base = variants[0].recipe
    run = RunDirectory(runs / base.name)
    plan = plan_sweep(variants, run)
    wanted_references(plan, references)
    context = Context(base, run, "cpu")
    rows = [
        {"stage": stage, "job": job.title, "up_to_date": job.is_done(context)}
        for stage, found in plan.jobs.items()
        for job in found
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['stage']:<9} {row['job']:<64} {'up to date' if row['up_to_date'] else 'to do'}")
    print(f"{len(variants)} variants, {len(rows)} jobs, {sum(not row['up_to_date'] for row in rows)} to do")
