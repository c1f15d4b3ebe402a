"""Stage 1: train a teacher for every language."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from structkd.corpus import Sentence, evenly_spaced
from structkd.evaluation import count, percentage
from structkd.knowledge import KnowledgeStore
from structkd.labels import LabelSet
from structkd.objective import Annealing, Objective
from structkd.recipe import EncoderSpec, Recipe, TeacherCard, TrainingSpec
from structkd.stages.corpora import Corpora, corpus_fingerprint, load_corpora
from structkd.stages.jobs import Context, Report
from structkd.storage import atomic_directory, fingerprint, is_sealed, seal, write_json
from structkd.tagger import Tagger, create, initialize_encoder, load, predict
from structkd.training import Example, Examples, TrainingSettings, train

DEV_SENTENCES = 200  # of each language, for the learning curve
TEACHER_SEED = 0


@dataclass(frozen=True)
class TeachJob:
    """Train one teacher on the gold sentences of its card."""

    card: TeacherCard
    key: str
    seed: int | None = None  # of the students that learn from it; None: it teaches all of them

    @property
    def model(self) -> str:
        """Its folder in the run directory."""
        return f"teachers/{self.card.name}" + ("" if self.seed is None else f"/seed-{self.seed}")

    @property
    def title(self) -> str:
        return f"teach {self.card.name}" + ("" if self.seed is None else f" seed {self.seed}")

    def is_done(self, context: Context) -> bool:
        return is_sealed(context.run.model(self.model), key=self.key)

    def run(self, context: Context, report: Report) -> None:
        corpora = load_corpora(context.recipe)
        corpus = corpora.teachers[self.card.name]
        train_tagger(
            context,
            self.model,
            self.key,
            report,
            corpora=corpora,
            encoder=self.card.encoder,
            head=self.card.head,
            settings=settings_of(self.card.training),
            items=examples_of(corpus.gold, corpora.labels),
            dev=corpus.dev,
            seed=TEACHER_SEED if self.seed is None else self.seed,
        )


def teach_jobs(recipe: Recipe, corpora: Corpora) -> list[TeachJob]:
    """One job a teacher card, or one for each card and seed."""
    seeds: tuple[int | None, ...] = recipe.seeds if recipe.teacher_seeds == "varied" else (None,)
    jobs = []
    for card in recipe.teachers:
        made_from = card.model_dump(mode="json", include={"language", "encoder", "head", "training"})
        gold = corpus_fingerprint(corpora.teachers[card.name].gold)
        for seed in seeds:
            used = TEACHER_SEED if seed is None else seed
            key = fingerprint("teacher", made_from, corpora.labels.to_dict(), gold, used)
            jobs.append(TeachJob(card, key, seed))
    return jobs


def settings_of(training: TrainingSpec) -> TrainingSettings:
    """A recipe's training section as the plain arguments of `train`."""
    given = training.model_dump()
    given["epochs"] = given["epochs"] or 1
    given["batch_size"] = given["batch_size"] or 1  # not read where words are counted
    given["gradient_clip"] = given["gradient_clip"] or 0.0
    return TrainingSettings(**given)


def examples_of(
    sentences: Sequence[Sentence], labels: LabelSet, store: KnowledgeStore | None = None, first: int = 0
) -> list[Example]:
    """Sentences as examples; with a store, sentence i takes the knowledge of its row `first + i`."""

    def reader(row: int) -> Callable[[], Any] | None:
        return None if store is None else lambda: store[row]

    return [
        Example(s.words, labels.ids(s.tags) if s.tags else None, s.language, s.id, reader(first + i))
        for i, s in enumerate(sentences)
    ]


def train_tagger(
    context: Context,
    model: str,
    key: str,
    report: Report,
    *,
    corpora: Corpora,
    encoder: EncoderSpec,
    head: str,
    languages: Sequence[str] | None = None,
    start: str | None = None,
    settings: TrainingSettings,
    items: list[Example],
    dev: list[Sentence],
    seed: int,
    objective: Objective | None = None,
    annealing: Annealing | None = None,
    temperature: float = 1.0,
) -> None:
    """Train a tagger into `model` of the run directory, going on from its checkpoints if it was cut off.

    Args:
        languages: those that get transitions of their own.
        start: model of the run directory whose encoder it starts from.
    """
    torch.manual_seed(seed)
    labels = corpora.labels
    tagger = create(encoder.model_dump(mode="json"), labels, head=head, languages=languages)
    if start is not None:
        initialize_encoder(tagger, load(context.run.model(start)))
    tagger.to(context.device)
    checkpoints = context.run.checkpoints(key)
    few = dev_sample(dev)
    history = train(
        tagger,
        Examples(items),
        settings,
        checkpoints,
        seed=seed,
        objective=objective,
        annealing=annealing,
        temperature=temperature,
        device=context.device,
        progress=lambda done, total, value: report(done, total, "" if value is None else f"loss {value:.3f}"),
        dev_score=(lambda: dev_score(tagger, few, context.recipe.task)) if few else None,
    )
    with atomic_directory(context.run.model(model)) as directory:
        save_tagger(tagger, directory, history, key)
    shutil.rmtree(checkpoints, ignore_errors=True)


def save_tagger(tagger: Tagger, directory: Path, history: list[dict[str, Any]], key: str) -> None:
    """Write a trained tagger with its history, sealed with what it was made from."""
    tagger.save(directory)
    write_json(directory / "history.json", history)
    seal(directory, key=key)


def dev_sample(sentences: list[Sentence]) -> list[Sentence]:
    """A few evenly spaced development sentences of each language."""
    languages = sorted({sentence.language for sentence in sentences})
    found: list[Sentence] = []
    for language in languages:
        found += evenly_spaced([s for s in sentences if s.language == language], DEV_SENTENCES)[0]
    return found


def dev_score(tagger: Tagger, sentences: list[Sentence], task: str) -> float:
    """Accuracy (pos) or strict F1 (ner) over all sentences together, in percent."""
    predicted = predict(tagger, [s.words for s in sentences], languages=[s.language for s in sentences])
    gold = [sentence.tags or () for sentence in sentences]
    counts = count(gold, predicted, task=task, scheme=tagger.labels.scheme)
    return float(percentage("accuracy" if task == "pos" else "f1", counts.overall.sum(axis=0)))
