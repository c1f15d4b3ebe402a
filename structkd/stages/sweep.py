"""A sweep: variants of a recipe in one run, sharing every model and every store that is made from equal inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from structkd.errors import UsageError
from structkd.evaluation import Counts, ModelCounts, load_model_counts, model_counts_path
from structkd.recipe import Recipe, Variant, dump_recipe
from structkd.report.sweep import TEACHERS, Reference, SweepLine, SweepRecord, parse_reference, score_lines
from structkd.report.sweep_table import sweep_json, sweep_markdown
from structkd.stages.corpora import Corpora, corpus_fingerprint
from structkd.stages.directory import RunDirectory, write_environment
from structkd.stages.evaluate import EvaluateJob
from structkd.stages.jobs import Context, Display, Job, JobRunner, Report, Silence
from structkd.stages.run import Plan, make_plan
from structkd.storage import is_sealed, lock, read_json, write_atomic, write_json

REFERENCES = ("baseline", "pseudo-labels")
_STAGES = ("teach", "extract", "distill", "evaluate")
_FOLDER = "sweep"


@dataclass(frozen=True)
class VariantDirectory(RunDirectory):
    """A run directory as one variant sees it: things lie where their keys say, so that variants share them.

    Attributes:
        places: model that the variant trains -> folder below the run directory.
        evaluations: model that the variant scores -> key of its scores.
    """

    places: Mapping[str, str]
    evaluations: Mapping[str, str]

    def model(self, model: str) -> Path:
        """Folder of a model."""
        return self.path / self.places.get(model, model)

    def counts(self, model: str) -> Path:
        """Per-sentence counts of an evaluated model."""
        return model_counts_path(self.path / _FOLDER, f"{model}-{self.evaluations[model]}")


@dataclass(frozen=True)
class VariantJob:
    """A job of one variant; it brings its own recipe and directory along."""

    job: Job
    key: str
    variant: str
    recipe: Recipe
    run_directory: VariantDirectory

    @property
    def title(self) -> str:
        """The job's, with the variant that it is first needed for."""
        return f"{self.job.title} [{self.variant}]"

    def is_done(self, context: Context) -> bool:
        return self.job.is_done(self._own(context))

    def run(self, context: Context, report: Report) -> None:
        self.job.run(self._own(context), report)

    def _own(self, context: Context) -> Context:
        return replace(context, recipe=self.recipe, run=self.run_directory)


@dataclass(frozen=True)
class SweepPlan:
    """The variants with their plans, and the jobs of all of them together, each once."""

    variants: tuple[Variant, ...]
    plans: tuple[Plan, ...]
    directories: tuple[VariantDirectory, ...]
    jobs: Mapping[str, list[VariantJob]]  # by stage


def plan_sweep(variants: Sequence[Variant], run: RunDirectory) -> SweepPlan:
    """Read all corpora and lay out all jobs; nothing is computed yet.

    Raises:
        DataError: a corpus is missing or faulty.
        UsageError: variants are scored on different test sets.
    """
    plans = [make_plan(variant.recipe) for variant in variants]
    tests = [_test_sets(plan.corpora) for plan in plans]
    for variant, found in zip(variants, tests, strict=True):
        if found != tests[0]:
            raise UsageError(f"{variant.name} is scored on other test sets than {variants[0].name}; no table has both")
    directories = [
        VariantDirectory(run.path, _places(plan, run), {job.model: job.key for job in plan.evaluate}) for plan in plans
    ]
    jobs: dict[str, list[VariantJob]] = {stage: [] for stage in _STAGES}
    for variant, plan, directory in zip(variants, plans, directories, strict=True):
        for stage in _STAGES:
            known = {job.key for job in jobs[stage]}
            label = ", ".join(value for _, value in variant.settings)
            jobs[stage] += [
                VariantJob(job, job.key, label, variant.recipe, directory)
                for job in getattr(plan, stage)
                if job.key not in known
            ]
    return SweepPlan(tuple(variants), tuple(plans), tuple(directories), jobs)


def sweep(
    variants: Sequence[Variant],
    runs: Path,
    *,
    command: str,
    references: Sequence[str] = REFERENCES,
    by_language: bool = False,
    workers: int = 1,
    device: str = "cpu",
    backend: str | None = None,
    display: Display | None = None,
) -> SweepRecord:
    """Run every variant and compare them; what is up to date is skipped, what was cut off goes on.

    Models of a plain run are used where they are the very same. `sweep.json` and `sweep.md` of the run directory
    hold the result.

    Args:
        variants: from `structkd.recipe.load_variants`, which has found their faults.
        runs: folder of the run directories; the models lie in `runs/<recipe name>/sweep/`.
        command: what the user typed, for the record.
        references: methods or settings that students are compared with (`structkd.report.sweep.parse_reference`).
        by_language: write the scores of each language too.
        workers, device, backend, display: as in `structkd.stages.run.run`.

    Raises:
        DataError, IntegrityError, UsageError: as the stages say; before anything is trained where it can be known.
    """
    base = variants[0].recipe
    run = RunDirectory(runs / base.name)
    own = RunDirectory(run.path / _FOLDER)
    run.path.mkdir(parents=True, exist_ok=True)
    with lock(run.path):
        plan = plan_sweep(variants, run)
        wanted = wanted_references(plan, references)
        own.path.mkdir(exist_ok=True)
        write_atomic(own.recipe, dump_recipe(base))
        write_environment(own)
        with JobRunner(workers, display or Silence()) as runner:
            for stage in _STAGES:
                runner.run(stage, plan.jobs[stage], Context(base, run, device, backend))
        record = _record(plan, wanted, command, own)
        write_json(run.path / "sweep.json", sweep_json(record))
        write_atomic(run.path / "sweep.md", sweep_markdown(record, by_language=by_language))
    return record


def wanted_references(plan: SweepPlan, references: Sequence[str]) -> list[Reference]:
    """The references of a sweep; those of `REFERENCES` that no variant trains are left out.

    Raises:
        UsageError: another one is not in the sweep.
    """
    methods = list(dict.fromkeys([job.method for found in plan.plans for job in found.distill] + [TEACHERS]))
    varied = _varied(plan.variants)
    kept = [name for name in references if name not in REFERENCES or name in methods]
    return [parse_reference(name, varied, methods) for name in kept]


def _places(plan: Plan, run: RunDirectory) -> dict[str, str]:
    """Where the models of a variant lie: in folders of their keys, unless a plain run has left the very same."""
    keys = {job.model: job.key for job in plan.teach} | {job.model: job.key for job in plan.distill}
    places = {}
    for model, key in keys.items():
        own = f"{_FOLDER}/{model}-{key}"
        ready = next((place for place in (own, model) if is_sealed(run.path / place, key=key)), None)
        places[model] = ready or own
    return places


def _test_sets(corpora: Corpora) -> list[tuple[str, bool, str]]:
    return [(test.language, test.seen, corpus_fingerprint(test.sentences)) for test in corpora.tests]


def _varied(variants: Sequence[Variant]) -> dict[str, tuple[str, ...]]:
    keys = [key for key, _ in variants[0].settings]
    return {key: tuple(dict.fromkeys(dict(variant.settings)[key] for variant in variants)) for key in keys}


def _record(plan: SweepPlan, references: Sequence[Reference], command: str, own: RunDirectory) -> SweepRecord:
    recipes = [variant.recipe for variant in plan.variants]
    teacher_seeds = {recipe.teacher_seeds for recipe in recipes}
    tests = plan.plans[0].corpora.tests
    languages = {
        scope: tuple(test.language for test in tests if test.seen == (scope == "seen")) for scope in ("seen", "unseen")
    }
    return SweepRecord(
        recipe=recipes[0].name,
        command=command,
        metric="accuracy" if recipes[0].task == "pos" else "f1",
        varied=_varied(plan.variants),
        seeds=recipes[0].seeds,
        teacher_seeds=teacher_seeds.pop() if len(teacher_seeds) == 1 else None,
        languages=languages,
        references=tuple(reference.name for reference in references),
        lines=score_lines(_lines(plan), references, languages),
        environment=read_json(own.environment),
    )


def _lines(plan: SweepPlan) -> list[SweepLine]:
    """One line for each set of models, with all the variants that it belongs to."""
    found: dict[tuple[str, ...], SweepLine] = {}
    for variant, own, directory in zip(plan.variants, plan.plans, plan.directories, strict=True):
        groups: dict[tuple[str, str], list[EvaluateJob]] = {}
        for job in own.evaluate:
            group = (job.role, TEACHERS if job.role == "teacher" else job.method)
            groups.setdefault(group, []).append(job)
        for (role, method), jobs in groups.items():
            identity = (role, method, *(job.key for job in jobs))
            point = dict(variant.settings)
            if identity in found:
                line = found[identity]
                found[identity] = replace(line, points=(*line.points, point))
                continue
            records = [load_model_counts(directory.counts(job.model)) for job in jobs]
            counts = _own_counts(records, variant.recipe) if role == "teacher" else _counts(records)
            seeds = tuple(dict.fromkeys(record.seed for record in records))
            found[identity] = SweepLine(method, role, (point,), seeds, counts)
    return list(found.values())


def _counts(records: Sequence[ModelCounts]) -> dict[str, tuple[Counts, ...]]:
    languages = dict.fromkeys(language for record in records for language in record.counts)
    return {name: tuple(record.counts[name] for record in records if name in record.counts) for name in languages}


def _own_counts(records: Sequence[ModelCounts], recipe: Recipe) -> dict[str, tuple[Counts, ...]]:
    """Each teacher on its own language; of several for one language the first card."""
    counts: dict[str, tuple[Counts, ...]] = {}
    for card in recipe.teachers:
        own = [record for record in records if record.method == card.name and card.language in record.counts]
        if own and card.language not in counts:
            counts[card.language] = tuple(record.counts[card.language] for record in own)
    return counts
