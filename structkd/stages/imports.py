"""Importing annotations by hand: check a file against a recipe's corpus and write the store a student trains from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from structkd.corpus import Annotation, read_annotations
from structkd.errors import DataError, UsageError
from structkd.knowledge import KnowledgeStore
from structkd.recipe import CorpusSpec, Recipe, TeacherCard
from structkd.stages.corpora import load_corpora
from structkd.stages.directory import RunDirectory
from structkd.stages.extract import extract_jobs
from structkd.stages.jobs import Context, Report
from structkd.stages.labelling import make_labellers
from structkd.storage import lock


class Imported(NamedTuple):
    """What came of an import.

    Attributes:
        store: folder of the knowledge store.
        card: what a recipe names the annotations with, as plain values.
        sentences: number of sentences of each kind of annotation, and of the store as a whole under `stored`.
    """

    store: Path
    card: dict[str, Any]
    sentences: dict[str, int]


def import_annotations(
    recipe: Recipe, file: Path, runs: Path, *, language: str | None = None, report: Report | None = None
) -> Imported:
    """Write the knowledge store of a file of annotations, as a run of the recipe with its card would.

    A teacher card of the recipe with the same language lends its corpus, if the file names sentences of it, and its
    label map, if it is a card of annotations too.

    Args:
        file: JSONL, see `structkd.corpus.annotations`.
        runs: folder of the run directories.
        language: of the annotations; None: what the file says, or the recipe's only language.

    Raises:
        UsageError: the language cannot be told.
        DataError: lists every faulty line.
    """
    annotations = read_annotations(_existing(file), language=language)
    spoken = language or _language(recipe, annotations, file)
    card = _card(recipe, annotations, file.resolve(), spoken)
    alone = recipe.model_copy(update={"teachers": (card,), "folds": None, "unlabeled": {}, "unseen": ()})
    corpora = load_corpora(alone)
    run = RunDirectory(runs / recipe.name)
    run.path.mkdir(parents=True, exist_ok=True)
    with lock(run.path):
        (job,) = extract_jobs(alone, corpora, make_labellers(alone, corpora, []))
        context = Context(alone, run, "cpu")
        if not job.is_done(context):
            job.run(context, report or (lambda done, total, note: None))
    store = KnowledgeStore(run.knowledge(job.key))
    kinds = Counter(_kind(annotation) for annotation in annotations)
    written = card.model_dump(mode="json", exclude_unset=True)
    return Imported(store.directory, written, {**kinds, "stored": len(store)})


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file}: there is no such file")
    return file


def _language(recipe: Recipe, annotations: list[Annotation], file: Path) -> str:
    languages = {annotation.language for annotation in annotations} - {None}
    languages = languages or {card.language for card in recipe.teachers}
    if len(languages) != 1:
        told = ", ".join(sorted(str(found) for found in languages))
        raise UsageError(f"{file}: of which language is it? It may be {told}; give --language")
    return str(languages.pop())


def _card(recipe: Recipe, annotations: list[Annotation], file: Path, language: str) -> TeacherCard:
    known = [card for card in recipe.teachers if card.language == language]
    given: dict[str, Any] = {
        "name": f"imported/{language}",
        "language": language,
        "task": recipe.task,
        "annotations": str(file),
    }
    for card in known:
        if card.annotations is not None:
            given |= {"labels": card.labels, "label_map": card.label_map, "lacks": card.lacks}
    corpora = [card.corpus for card in known if card.corpus is not None and card.corpus.train is not None]
    if corpora and _is_about(recipe, corpora[0], annotations, language):
        given["corpus"] = corpora[0]
    return TeacherCard(**given)


def _is_about(recipe: Recipe, corpus: CorpusSpec, annotations: list[Annotation], language: str) -> bool:
    """Whether the annotations leave their words to a corpus, or name sentences of it."""
    if any(annotation.words is None for annotation in annotations):
        return True
    owner = next(card for card in recipe.teachers if card.corpus == corpus)
    text = load_corpora(recipe.model_copy(update={"teachers": (owner,), "unlabeled": {}})).texts[language]
    ids = {sentence.id for sentence in text.gold + text.untagged}
    return any(annotation.id in ids for annotation in annotations)


def _kind(annotation: Annotation) -> str:
    if annotation.tags is not None:
        return "partial tags" if None in annotation.tags else "tags"
    return "nbest" if annotation.nbest is not None else "posteriors"
