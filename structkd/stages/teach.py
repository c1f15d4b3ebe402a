"""Stage 1: train a teacher for every language."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from structkd.corpus import Sentence, evenly_spaced, token_fingerprint
from structkd.evaluation import count, percentage
from structkd.knowledge import KnowledgeStore
from structkd.labels import LabelSet
from structkd.objective import Annealing, Objective
from structkd.recipe import EncoderSpec, Recipe, TeacherCard, TrainingSpec
from structkd.stages.corpora import Corpora, TeacherCorpus, corpus_fingerprint, load_corpora
from structkd.stages.jobs import Context, Report
from structkd.storage import atomic_directory, fingerprint, is_sealed, seal, write_json
from structkd.tagger import Tagger, create, initialize_encoder, load, predict
from structkd.teacher import assign_folds
from structkd.training import Example, Examples, TrainingSettings, train

DEV_SENTENCES = 200  # of each language, for the learning curve
TEACHER_SEED = 0
_APART = 1000  # seeds of the teachers of one card, so that those of one student are not those of another


@dataclass(frozen=True)
class TeachJob:
    """Train one teacher on the gold sentences of its card; with a `fold`, on those of the other folds."""

    card: TeacherCard
    key: str
    fold: int | None = None
    seed: int | None = None  # of its training; None: it is the only one of its card
    student: int | None = None  # seed of the students that learn from it; None: it teaches all of them

    @property
    def model(self) -> str:
        """Its folder in the run directory."""
        folder = f"teachers/{self.card.name}" if self.fold is None else f"folds/{self.card.name}/{self.fold}"
        return folder + ("" if self.seed is None else f"/seed-{self.seed}")

    @property
    def title(self) -> str:
        without = "" if self.fold is None else f" without fold {self.fold}"
        return f"teach {self.card.name}{without}" + ("" if self.seed is None else f" seed {self.seed}")

    def is_done(self, context: Context) -> bool:
        return is_sealed(context.run.model(self.model), key=self.key)

    def run(self, context: Context, report: Report) -> None:
        corpus = load_corpora(context.recipe).teachers[self.card.name]
        assert self.card.encoder is not None
        assert self.card.training is not None
        train_tagger(
            context,
            self.model,
            self.key,
            report,
            labels=corpus.labels,
            encoder=self.card.encoder,
            head=self.card.head,
            settings=settings_of(self.card.training),
            items=examples_of(_training_sentences(corpus, context.recipe, self.fold), corpus.labels),
            dev=corpus.dev,
            seed=TEACHER_SEED if self.seed is None else self.seed,
        )


def teach_jobs(recipe: Recipe, corpora: Corpora) -> list[TeachJob]:
    """One job a teacher card that is trained here, and one more for each fold; all that for each seed."""
    jobs = []
    for card in recipe.teachers:
        if not card.is_trained:
            continue
        made_from = card.model_dump(mode="json", include={"language", "encoder", "head", "training"})
        corpus = corpora.teachers[card.name]
        for fold in (None, *range(recipe.folds or 0)):
            gold = corpus_fingerprint(_training_sentences(corpus, recipe, fold))
            for student in taught_seeds(recipe):
                for seed in _training_seeds(recipe, student):
                    used = TEACHER_SEED if seed is None else seed
                    key = fingerprint("teacher", made_from, corpus.labels.to_dict(), gold, used)
                    jobs.append(TeachJob(card, key, fold, seed, student))
    return jobs


def taught_seeds(recipe: Recipe) -> tuple[int | None, ...]:
    """The seeds of the students that have teachers of their own; None: all students share them."""
    return recipe.seeds if recipe.teacher_seeds == "varied" else (None,)


def _training_seeds(recipe: Recipe, student: int | None) -> list[int | None]:
    """The seeds of the teachers that one card has for a student; None: the only teacher of a card."""
    if student is None and recipe.ensemble.size == 1:
        return [None]
    first = TEACHER_SEED if student is None else student
    return [first + _APART * member for member in range(recipe.ensemble.size)]


def folds_of(corpus: TeacherCorpus, folds: int) -> dict[str, int]:
    """Token fingerprint -> fold of the gold sentences of a teacher."""
    return assign_folds(corpus.gold, folds)


def _training_sentences(corpus: TeacherCorpus, recipe: Recipe, fold: int | None) -> list[Sentence]:
    """All gold sentences, or those of the other folds."""
    if fold is None or recipe.folds is None:
        return corpus.gold
    fold_of = folds_of(corpus, recipe.folds)
    return [sentence for sentence in corpus.gold if fold_of[token_fingerprint(sentence.words)] != fold]


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
    labels: LabelSet,
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
