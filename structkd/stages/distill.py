"""Stage 3: train the multilingual student, and the controls that it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from structkd.corpus import Sentence
from structkd.knowledge import PARTS, KnowledgeStore, allowed_tags
from structkd.objective import Annealing, Objective
from structkd.recipe import Recipe
from structkd.stages.corpora import Corpora, corpus_fingerprint, load_corpora
from structkd.stages.extract import ExtractJob
from structkd.stages.jobs import Context, Report
from structkd.stages.labelling import Labeller
from structkd.stages.objectives import objective_of
from structkd.stages.teach import examples_of, settings_of, train_tagger
from structkd.storage import fingerprint, is_sealed
from structkd.training import Example, LengthBatches, TrainingSettings

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
    start: str | None = None  # model that its encoder starts from

    @property
    def model(self) -> str:
        """Its folder in the run directory."""
        # A star in the name of a folder would be a pattern to every shell.
        return f"models/{self.method.replace('*', 'x')}/seed-{self.seed}"

    @property
    def title(self) -> str:
        return f"{self.method} seed {self.seed}"

    def is_done(self, context: Context) -> bool:
        return is_sealed(context.run.model(self.model), key=self.key)

    def run(self, context: Context, report: Report) -> None:
        recipe, corpora = context.recipe, load_corpora(context.recipe)
        objective = self._objective(recipe)
        items = self._examples(context, corpora)
        by_language = recipe.student.transitions == "per_language"
        train_tagger(
            context,
            self.model,
            self.key,
            report,
            labels=corpora.labels,
            encoder=recipe.student.encoder,
            head=recipe.student.head,
            languages=sorted({item.language for item in items}) if by_language else None,
            start=self.start,
            settings=self.settings,
            items=items,
            dev=[sentence for text in corpora.texts.values() for sentence in text.dev],
            seed=self.seed,
            objective=objective,
            annealing=Annealing(**recipe.annealing.model_dump()),
            temperature=recipe.knowledge.temperature,
        )

    def _objective(self, recipe: Recipe) -> Objective | None:
        if self.role != "student":
            return None
        return objective_of(self.method, local_temperature=recipe.knowledge.local_temperature)

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
    """Students of every objective, and the controls, for every seed; the longest first.

    A job's key names what its model is made from and nothing else: variants of a recipe share what is equal.
    """
    settings = settings_of(recipe.student.training)
    untagged = [sentence for text in corpora.texts.values() for sentence in text.untagged]
    everything = [sentence for text in corpora.texts.values() for sentence in text.gold] + untagged
    steps = settings.max_steps or _steps(everything, settings)
    matched = replace(settings, max_steps=steps)
    own = replace(settings, max_steps=None, epochs=recipe.baseline.epochs or settings.epochs)
    wanted: list[tuple[str, str, TrainingSettings]] = [(name, "student", settings) for name in recipe.objective]
    # Without untagged text there is nothing to label: the control would be the step-matched baseline once more.
    if "pseudo-labels" in recipe.controls and untagged:
        wanted.append((PSEUDO, "control", settings))
    if "baseline" in recipe.controls:
        wanted += [(MATCHED, "baseline", matched), (BASELINE, "baseline", own)]
    student = recipe.student.model_dump(mode="json")
    tagged = [[text.language, corpus_fingerprint(text.gold)] for text in corpora.texts.values() if text.gold]
    # In the order of the texts, whichever seed's teachers came first: the order of examples is part of a result.
    every_store = sorted(stores, key=lambda job: list(corpora.texts).index(job.text))
    jobs = []
    for method, role, chosen in wanted:
        for seed in recipe.seeds:
            asked = [job for job in every_store if job.seed in (None, seed)]
            # Controls start where the student does: what is compared is what they learn from.
            start = _start(recipe, asked)
            asked = [] if role == "baseline" else asked
            learnt = [[job.text, _used(recipe, method, job)] for job in asked]
            how = recipe.annealing.model_dump() if role == "student" else None
            labels = corpora.labels.to_dict()
            key = fingerprint("student", role, method, student, chosen, tagged, learnt, how, seed, labels)
            key = fingerprint(key, start.key) if start else key
            keys = tuple((job.text, job.key) for job in asked)
            model = None if start is None else _model_of(start)
            jobs.append(DistillJob(method, role, seed, chosen, keys, key, model))
    return jobs


def _model_of(labeller: Labeller) -> str:
    """Its folder in the run directory, or the path of a model from elsewhere."""
    found = labeller.card.model
    return labeller.model if found is None else str(Path(found).expanduser().resolve())


def _start(recipe: Recipe, stores: Iterable[ExtractJob]) -> Labeller | None:
    """The teacher whose encoder the student starts from."""
    labellers = (labeller for job in stores for labeller in job.labellers)
    return next((found for found in labellers if found.card.name == recipe.student.initialize_from), None)


def _used(recipe: Recipe, method: str, store: ExtractJob) -> dict[str, Any]:
    """What of a store, and of how it is read, a model depends on."""
    used = {**recipe.knowledge.model_dump(), **asdict(store.facts)}
    if method == PSEUDO:
        # The best path is the same at any temperature, in any precision and at the head of any list.
        return {name: used[name] for name in ("teacher", "corpus", "labels")}
    needs = objective_of(method).needs
    if "paths" not in needs:
        del used["k"]
    # What a store holds for other objectives changes nothing.
    used["parts"] = sorted(needs.intersection(PARTS))
    return used


def _steps(sentences: Sequence[Sentence], settings: TrainingSettings) -> int:
    """Optimiser steps of a training run, as the Trainer counts them."""
    batches = len(
        LengthBatches(
            [len(sentence.words) for sentence in sentences],
            [sentence.language for sentence in sentences],
            settings.batch_size,
            seed=0,
            batch_tokens=settings.batch_tokens,
            balance_exponent=settings.balance_exponent,
        )
    )
    return int(-(-batches // settings.gradient_accumulation) * settings.epochs)
