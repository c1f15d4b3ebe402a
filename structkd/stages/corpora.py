"""The sentences of an experiment: what teachers and student learn from, and all test sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from structkd.corpus import Sentence, evenly_spaced, find_file, read
from structkd.errors import DataError
from structkd.labels import LabelMap, LabelSet
from structkd.recipe import (
    Recipe,
    TeacherCard,
    UnlabeledSpec,
    card_map,
    corpus_root,
    label_set,
)
from structkd.stages.splits import read_split, untagged_text
from structkd.storage import fingerprint
from structkd.tagger import read_labels
from structkd.teacher import Annotations

logger = logging.getLogger(__name__)

# What no sentence depends on: variants of a recipe that differ in these alone share their corpora.
_NOT_TEXT = {
    "name",
    "description",
    "student",
    "objective",
    "knowledge",
    "annealing",
    "controls",
    "baseline",
    "seeds",
    "teacher_seeds",
}
_NOT_TEXT_OF_CARD = {"encoder", "head", "training", "provenance"}
_KEPT = 2
_kept: dict[str, Corpora] = {}  # the last ones that were loaded, by what they were made from


@dataclass(frozen=True)
class TeacherCorpus:
    """What one teacher is trained on, in its own labels."""

    labels: LabelSet
    gold: list[Sentence]
    dev: list[Sentence]


@dataclass(frozen=True)
class Text:
    """What the student learns from in one language, in its own labels; `teachers` are the cards that label it."""

    language: str
    teachers: tuple[str, ...]
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
    """All sentences of an experiment.

    Attributes:
        labels: of the student.
        maps: from the labels of each teacher to the student's, by the name of the card.
        teachers: what teachers are trained on, by the name of the card; only those that are trained here.
        annotations: what others have said about sentences, by the name of the card.
        texts: what the student learns from, by language; text that others than its own teachers label stands apart.
        tests: one test set a language.
    """

    labels: LabelSet
    maps: dict[str, LabelMap]
    teachers: dict[str, TeacherCorpus]
    annotations: dict[str, Annotations]
    texts: dict[str, Text]
    tests: list[TestSet]


def load_corpora(recipe: Recipe) -> Corpora:
    """Read every corpus that the recipe names.

    Raises:
        DataError: a file is missing or faulty, has a tag that the labels lack, or labels do not map to the student's.
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
    root = corpus_root(recipe)
    student = label_set(recipe.labels)
    corpora = Corpora(student, {}, {}, {}, {}, [])
    for language in dict.fromkeys(card.language for card in recipe.teachers):
        cards = [card for card in recipe.teachers if card.language == language]
        text = Text(language, tuple(card.name for card in cards), [], [], [])
        done: set[object] = set()
        for card in cards:
            label_map = card_map(recipe, card, model_labels(card) if card.model else None)
            corpora.maps[card.name] = label_map
            # Cards may share a corpus: its sentences are learnt from once.
            own = (card.corpus, label_map.source.tags, tuple(label_map.names.items()))
            _add_card(recipe, card, label_map, corpora, text, root, repeated=own in done)
            done.add(own)
        corpora.texts[language] = text
    for language, more in recipe.unlabeled.items():
        _add_unlabeled(recipe, language, more, corpora, root)
    for unseen in recipe.unseen:
        where = f"unseen language {unseen.language}"
        found = read_split(unseen.corpus, "test", unseen.language, student, root, where)
        _add_test(corpora, TestSet(unseen.language, unseen.corpus.title or unseen.language, False, found))
    for name, text in corpora.texts.items():
        corpora.texts[name] = _without_unknown(text, corpora)
    return corpora


def _add_card(
    recipe: Recipe,
    card: TeacherCard,
    label_map: LabelMap,
    corpora: Corpora,
    text: Text,
    root: Path | None,
    *,
    repeated: bool,
) -> None:
    """Read what a card names: the teacher's own corpus, and what of it the student learns from and is tested on."""
    where = f"teacher {card.name}"
    everything: list[Sentence] | None = None
    if card.corpus is not None:
        read_own = partial(
            read_split, card.corpus, language=card.language, labels=label_map.source, root=root, where=where
        )
        gold, rest = (read_own(split="train") if card.corpus.train else []), list[Sentence]()
        if recipe.corpus.gold is not None:
            gold, rest = evenly_spaced(gold, recipe.corpus.gold)
        dev = read_own(split="dev") if card.corpus.dev else []
        untagged = untagged_text(recipe, card.corpus, card.language, rest, root)
        if gold or untagged:
            everything = gold + (rest if recipe.corpus.untagged == "rest" else untagged)
        if card.is_trained:
            corpora.teachers[card.name] = TeacherCorpus(label_map.source, gold, dev)
        if not repeated:
            tagged, without = _in_labels_of_student(gold, label_map)
            text.gold.extend(tagged)
            text.untagged.extend([*without, *untagged])
            text.dev.extend(_in_labels_of_student(dev, label_map)[0])
            if card.corpus.test:
                tagged, without = _in_labels_of_student(read_own(split="test"), label_map)
                if without:
                    logger.warning("%s: %d test sentences have tags that are dropped, left out", where, len(without))
                title = card.corpus.title or card.name
                _add_test(corpora, TestSet(card.language, title, True, tagged))
    if card.annotations is not None:
        found = Annotations.read(find_annotations(card, root), label_map, language=card.language, corpus=everything)
        corpora.annotations[card.name] = found
        if everything is None:
            text.untagged.extend(found.text(card.language))


def _add_unlabeled(recipe: Recipe, language: str, more: UnlabeledSpec, corpora: Corpora, root: Path | None) -> None:
    """Text of a recipe's `unlabeled` section: to the text of its language, or apart if others label it."""
    read_words = partial(
        read, language=language, format=more.format, root=root, tag_column="none", word_column=more.word_column
    )
    found = [sentence for path in more.paths for sentence in read_words(path)]
    if more.limit is not None:
        found, _ = evenly_spaced(found, more.limit)
    found = [sentence.without_tags() for sentence in found]
    if more.teachers == "own":
        corpora.texts[language].untagged.extend(found)
        return
    names = tuple(card.name for card in recipe.teachers if card.annotations is None)
    chosen = names if more.teachers == "all" else more.teachers
    corpora.texts[f"{language}-unlabeled"] = Text(language, tuple(chosen), [], found, [])


def _add_test(corpora: Corpora, test: TestSet) -> None:
    """Add a test set; several of one language are one."""
    for index, known in enumerate(corpora.tests):
        if known.language == test.language:
            title = f"{known.title} + {test.title}"
            corpora.tests[index] = TestSet(test.language, title, test.seen, known.sentences + test.sentences)
            return
    corpora.tests.append(test)


def _in_labels_of_student(sentences: list[Sentence], label_map: LabelMap) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences in the student's tags, and without tags those that have a tag that is dropped.

    That a tag is dropped means "given that it does not occur", in the tags of a corpus as in a teacher's chain.
    """
    if label_map.is_identity:
        return sentences, []
    tagged, without = [], []
    for sentence in sentences:
        tags = label_map.convert(sentence.tags or ())
        if tags is None:
            without.append(sentence.without_tags())
        else:
            tagged.append(replace(sentence, tags=tuple(tags)))
    return tagged, without


def _without_unknown(text: Text, corpora: Corpora) -> Text:
    """Without the untagged sentences that nobody knows anything about, where there are annotations only."""
    sources = [corpora.annotations.get(name) for name in text.teachers]
    if not all(sources):
        return text
    known = [s for s in text.untagged if any(source.knows(s) for source in sources if source is not None)]
    return replace(text, untagged=known)


def find_annotations(card: TeacherCard, root: Path | None) -> Path:
    """The file of a card's annotations.

    Raises:
        DataError: it does not exist.
    """
    assert card.annotations is not None
    return find_file(card.annotations, root)


def model_labels(card: TeacherCard) -> LabelSet:
    """The labels of a card's model, in the order of its ids and in the scheme that the card states.

    Raises:
        DataError: there is no such model, or the card's labels are not those of the model.
    """
    assert card.model is not None
    stated = None if card.labels is None else label_set(card.labels)
    found = read_labels(Path(card.model).expanduser(), scheme=None if stated is None else stated.scheme)
    # A model may lack tags that its scheme has: IOB1 data need no B of a type that never stands twice in a row.
    unstated = [tag for tag in found.tags if stated is not None and tag not in stated]
    if unstated:
        raise DataError(f"teacher {card.name}: {card.model} has the labels {', '.join(unstated)}, its card does not")
    return found
