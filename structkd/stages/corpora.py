"""The sentences of an experiment: gold, untagged and development text of every teacher, and all test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from structkd.corpus import Sentence, check_tags, evenly_spaced, read
from structkd.errors import DataError
from structkd.labels import UPOS, LabelSet, convert
from structkd.recipe import CorpusSpec, EntityLabels, Recipe, TagLabels, corpus_root
from structkd.storage import fingerprint

# What no sentence depends on: variants of a recipe that differ in these alone share their corpora.
_NOT_TEXT = {"name", "description", "student", "objective", "knowledge", "annealing", "controls", "baseline", "seeds"}
_NOT_TEXT_OF_CARD = {"encoder", "head", "training", "provenance"}
_KEPT = 2
_kept: dict[str, Corpora] = {}  # the last ones that were loaded, by what they were made from


@dataclass(frozen=True)
class TeacherCorpus:
    """What one teacher and the student learn its language from."""

    language: str
    gold: list[Sentence]
    untagged: list[Sentence]
    dev: list[Sentence]


@dataclass(frozen=True)
class TestSet:
    """Tagged sentences that nothing was trained on."""

    __test__ = False  # not a test class of pytest

    language: str
    title: str
    seen: bool
    sentences: list[Sentence]


@dataclass(frozen=True)
class Corpora:
    """All sentences of an experiment; `teachers` by the name of the card."""

    labels: LabelSet
    teachers: dict[str, TeacherCorpus]
    tests: list[TestSet]


def label_set(recipe: Recipe) -> LabelSet:
    """The labels of teachers and student."""
    if isinstance(recipe.labels, EntityLabels):
        return LabelSet.for_entities(recipe.labels.entities, recipe.labels.scheme)
    if isinstance(recipe.labels, TagLabels):
        return LabelSet(recipe.labels.tags)
    return LabelSet(UPOS)


def load_corpora(recipe: Recipe) -> Corpora:
    """Read every corpus that the recipe names.

    Raises:
        DataError: a file is missing or faulty, or has a tag that the labels lack.
    """
    cards = [card.model_dump(mode="json", exclude=_NOT_TEXT_OF_CARD) for card in recipe.teachers]
    key = fingerprint(recipe.model_dump(mode="json", exclude={*_NOT_TEXT, "teachers"}), cards)
    found = _kept.pop(key, None) or _load(recipe)
    _kept[key] = found
    while len(_kept) > _KEPT:
        del _kept[next(iter(_kept))]
    return found


def corpus_fingerprint(sentences: Sequence[Sentence]) -> str:
    """Names sentences by their ids, words and tags, in order."""
    return fingerprint([[s.id, list(s.words), list(s.tags) if s.tags else None] for s in sentences])


def _load(recipe: Recipe) -> Corpora:
    labels = label_set(recipe)
    root = corpus_root(recipe)
    teachers, tests = {}, []
    for card in recipe.teachers:
        where = f"teacher {card.name}"
        gold = _read(card.corpus, "train", card.language, labels, root, where)
        rest: list[Sentence] = []
        if recipe.corpus.gold is not None:
            gold, rest = evenly_spaced(gold, recipe.corpus.gold)
        dev = _read(card.corpus, "dev", card.language, labels, root, where) if card.corpus.dev else []
        teachers[card.name] = TeacherCorpus(
            card.language, gold, _untagged(recipe, card.corpus, card.language, rest, root), dev
        )
        if card.corpus.test:
            found = _read(card.corpus, "test", card.language, labels, root, where)
            tests.append(TestSet(card.language, card.corpus.title or card.name, True, found))
    for unseen in recipe.unseen:
        where = f"unseen language {unseen.language}"
        found = _read(unseen.corpus, "test", unseen.language, labels, root, where)
        tests.append(TestSet(unseen.language, unseen.corpus.title or unseen.language, False, found))
    return Corpora(labels, teachers, tests)


def _read(
    corpus: CorpusSpec, split: str, language: str, labels: LabelSet, root: Path | None, where: str
) -> list[Sentence]:
    """A tagged split in the scheme of the labels."""
    location = getattr(corpus, split)
    if location is None:
        raise DataError(
            f"{where}: the corpus names no {split} split; expected corpus.{split}: a path or a split's name"
        )
    sentences = _read_location(corpus, location, language, corpus.scheme or labels.scheme, root)
    untagged = [sentence.id for sentence in sentences if sentence.tags is None]
    if untagged:
        raise DataError(f"{where}: {location} has sentences without tags, first {untagged[0]}; {split} needs tags")
    if corpus.scheme and labels.scheme and corpus.scheme != labels.scheme:
        sentences = [
            Sentence(s.words, tuple(convert(list(s.tags or ()), corpus.scheme, labels.scheme)), s.language, s.id)
            for s in sentences
        ]
    check_tags(sentences, labels, f"{where}, {location}")
    return sentences


@lru_cache(maxsize=64)
def _read_location(
    corpus: CorpusSpec, location: str, language: str, scheme: str | None, root: Path | None
) -> list[Sentence]:
    return read(
        location,
        language=language,
        format=corpus.format,
        root=root,
        tag_column=corpus.tag_column,
        word_column=corpus.word_column,
        scheme=scheme,
        hub=corpus.hub,
        config=corpus.config,
        revision=corpus.revision,
    )


def _untagged(
    recipe: Recipe, corpus: CorpusSpec, language: str, rest: list[Sentence], root: Path | None
) -> list[Sentence]:
    wanted, found = recipe.corpus.untagged, rest
    if wanted == "none" or (wanted != "rest" and language not in wanted):
        return []
    if wanted != "rest":
        if corpus.format in ("sample", "hub"):
            found = _read_location(corpus, wanted[language], language, None, root)
        else:
            found = read(wanted[language], language=language, root=root, tag_column="none")
    if recipe.corpus.untagged_limit is not None:
        found, _ = evenly_spaced(found, recipe.corpus.untagged_limit)
    return [sentence.without_tags() for sentence in found]
