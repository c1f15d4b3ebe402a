"""The main job, stage by stage: teach -> extract -> distill -> evaluate -> report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from structkd.knowledge import store_faults
from structkd.recipe import Recipe, dump_recipe
from structkd.report import write_report
from structkd.stages.corpora import Corpora, load_corpora
from structkd.stages.directory import RunDirectory, write_environment
from structkd.stages.distill import DistillJob, distill_jobs
from structkd.stages.evaluate import EvaluateJob, evaluate_jobs, write_scores
from structkd.stages.extract import ExtractJob, StoreSummary, extract_jobs
from structkd.stages.jobs import Context, Display, JobRunner, Silence
from structkd.stages.labelling import make_labellers
from structkd.stages.teach import TeachJob, taught_seeds, teach_jobs
from structkd.storage import lock, write_atomic

STAGES = ("teach", "extract", "distill", "evaluate", "report")


@dataclass(frozen=True)
class Plan:
    """All jobs of a recipe, by stage. A job's key names everything its result is made from."""

    corpora: Corpora
    teach: list[TeachJob]
    extract: list[ExtractJob]
    distill: list[DistillJob]
    evaluate: list[EvaluateJob]


def make_plan(recipe: Recipe) -> Plan:
    """Read the corpora and lay out the jobs; nothing is computed yet.

    Raises:
        DataError: a corpus is missing or faulty.
    """
    corpora = load_corpora(recipe)
    teachers = teach_jobs(recipe, corpora)
    labellers = [make_labellers(recipe, corpora, teachers, seed) for seed in taught_seeds(recipe)]
    # What is not trained here labels for all seeds at once.
    stores = list({job.key: job for group in labellers for job in extract_jobs(recipe, corpora, group)}.values())
    students = distill_jobs(recipe, corpora, stores)
    return Plan(corpora, teachers, stores, students, evaluate_jobs(recipe, corpora, labellers, students))


def store_faults_of(recipe: Recipe, runs: Path) -> list[str]:
    """All that is missing, cut off or damaged in the knowledge stores of a recipe, a line each; every shard is read."""
    directory = RunDirectory(runs / recipe.name)
    return [fault for job in make_plan(recipe).extract for fault in store_faults(directory.knowledge(job.key))]


def summaries(recipe: Recipe, runs: Path) -> list[StoreSummary]:
    """The knowledge stores of a recipe in numbers."""
    context = Context(recipe, RunDirectory(runs / recipe.name), "cpu")
    return [job.summary(context) for job in make_plan(recipe).extract]


def run(
    recipe: Recipe,
    runs: Path,
    *,
    until: str = "report",
    workers: int = 1,
    device: str = "cpu",
    backend: str | None = None,
    display: Display | None = None,
) -> RunDirectory:
    """Run a recipe's stages up to and including `until`; what is up to date is skipped, what was cut off goes on.

    Args:
        runs: folder of the run directories; this run is `runs/<recipe name>`.
        until: one of STAGES.
        workers: jobs at a time, each in its own process.
        device: `cpu` or `cuda`.
        backend: of the CRF kernels; None takes the fastest that can run.

    Returns:
        The run directory.

    Raises:
        DataError, IntegrityError: as the stages say.
    """
    directory = RunDirectory(runs / recipe.name)
    directory.path.mkdir(parents=True, exist_ok=True)
    with lock(directory.path):
        plan = make_plan(recipe)
        write_atomic(directory.recipe, dump_recipe(recipe))
        write_environment(directory)
        context = Context(recipe, directory, device, backend)
        with JobRunner(workers, display or Silence()) as runner:
            for stage in STAGES[: STAGES.index(until) + 1]:
                if stage == "report":
                    write_report(directory.path)
                    continue
                runner.run(stage, getattr(plan, stage), context)
                if stage == "evaluate":
                    write_scores(context, plan.corpora, plan.evaluate)
    return directory
