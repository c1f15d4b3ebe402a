"""Stage 3: train the multilingual student, and the controls that it is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from structkd.knowledge import KnowledgeStore, allowed_tags
from structkd.objective import Annealing, Objective, make_objective
from structkd.recipe import Recipe
from structkd.stages.corpora import Corpora, load_corpora
from structkd.stages.extract import ExtractJob
from structkd.stages.jobs import Context, Report
from structkd.stages.teach import examples_of, settings_of, train_tagger
from structkd.storage import fingerprint, is_sealed
from structkd.training import Example, TrainingSettings

BASELINE = "baseline"
MATCHED = "baseline-matched"
PSEUDO = "pseudo-labels"


@dataclass(frozen=True)
class DistillJob:
    """Train one multilingual tagger: a student (`method` is its objective) or a control."""

    method: str
    role: str
    seed: int
    settings: TrainingSettings
    stores: tuple[tuple[str, str], ...]  # (text, key of its store); empty for baselines
    key: str

    @property
    def model(self) -> str:
        """Its folder in the run directory."""
        return f"models/{self.method}/seed-{self.seed}"

    @property
    def title(self) -> str:
        return f"{self.method} seed {self.seed}"

    def is_done(self, context: Context) -> bool:
        return is_sealed(context.run.model(self.model), key=self.key)

    def run(self, context: Context, report: Report) -> None:
        recipe, corpora = context.recipe, load_corpora(context.recipe)
        objective = self._objective(recipe)
        train_tagger(
            context,
            self.model,
            self.key,
            report,
            labels=corpora.labels,
            encoder=recipe.student.encoder,
            head=recipe.student.head,
            settings=self.settings,
            items=self._examples(context, corpora),
            dev=[sentence for text in corpora.texts.values() for sentence in text.dev],
            seed=self.seed,
            objective=objective,
            annealing=Annealing(**recipe.annealing.model_dump()),
            temperature=recipe.knowledge.temperature,
        )

    def _objective(self, recipe: Recipe) -> Objective | None:
        if self.role != "student":
            return None
        return make_objective(self.method, local_temperature=recipe.knowledge.local_temperature)

    def _examples(self, context: Context, corpora: Corpora) -> list[Example]:
        """Gold and, where there are stores, untagged sentences of all languages."""
        if not self.stores:
            return [e for text in corpora.texts.values() for e in examples_of(text.gold, corpora.labels)]
        items: list[Example] = []
        for name, key in self.stores:
            text, store = corpora.texts[name], KnowledgeStore(context.run.knowledge(key))
            gold = examples_of(text.gold, corpora.labels, store)
            untagged = examples_of(text.untagged, corpora.labels, store, first=len(gold))
            if any(card in corpora.annotations for card in text.teachers):
                gold, untagged = [_known(e) for e in gold], [_known(e) for e in untagged]
            if self.method == PSEUDO:
                gold = [example._replace(knowledge=None) for example in gold]
                untagged = [_best_tags(example) for example in untagged]
            items += gold + untagged
        return items


def _known(example: Example) -> Example:
    """An example whose annotation says which tags are possible is trained on that, if it has no gold tags."""
    allowed = None if example.knowledge is None else allowed_tags(example.knowledge())
    if allowed is None:
        return example
    return example._replace(knowledge=None, allowed=allowed if example.tags is None else None)


def _best_tags(example: Example) -> Example:
    """The teachers' best tags as if they were gold."""
    if example.knowledge is None:
        return example
    return example._replace(tags=example.knowledge().paths[0].tolist(), knowledge=None)


def distill_jobs(recipe: Recipe, corpora: Corpora, stores: Iterable[ExtractJob]) -> list[DistillJob]:
    """Students of every objective, and the controls, for every seed; the longest first."""
    settings = settings_of(recipe.student.training)
    gold = sum(len(text.gold) for text in corpora.texts.values())
    everything = gold + sum(len(text.untagged) for text in corpora.texts.values())
    steps = settings.max_steps or _steps(everything, settings)
    matched = replace(settings, max_steps=steps)
    own = replace(settings, max_steps=None, epochs=recipe.baseline.epochs or settings.epochs)
    keys = tuple((job.text, job.key) for job in stores)
    # (method, role, settings, stores): what a model learns from besides the gold tags.
    wanted: list[tuple[str, str, TrainingSettings, tuple[tuple[str, str], ...]]] = [
        (name, "student", settings, keys) for name in recipe.objective
    ]
    if "pseudo-labels" in recipe.controls:
        wanted.append((PSEUDO, "control", settings, keys))
    if "baseline" in recipe.controls:
        wanted += [(MATCHED, "baseline", matched, ()), (BASELINE, "baseline", own, ())]
    student = recipe.student.model_dump(mode="json")
    data = [job.facts.corpus for job in stores]
    jobs = []
    for method, role, chosen, used in wanted:
        how = [recipe.annealing.model_dump(), recipe.knowledge.model_dump()] if role == "student" else []
        for seed in recipe.seeds:
            key = fingerprint("student", method, student, chosen, data, used, how, seed, corpora.labels.to_dict())
            jobs.append(DistillJob(method, role, seed, chosen, used, key))
    return jobs


def _steps(sentences: int, settings: TrainingSettings) -> int:
    """Optimiser steps of a training run, as the Trainer counts them."""
    batches = -(-sentences // settings.batch_size)
    return int(-(-batches // settings.gradient_accumulation) * settings.epochs)
