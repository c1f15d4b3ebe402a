"""Reading what a recipe names: the tagged splits of a corpus, and text without tags."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from structkd.corpus import Sentence, check_tags, evenly_spaced, read
from structkd.errors import DataError
from structkd.labels import LabelSet, convert
from structkd.recipe import CorpusSpec, Recipe


def read_split(
    corpus: CorpusSpec, split: str, language: str, labels: LabelSet, root: Path | None, where: str
) -> list[Sentence]:
    """A tagged split of a corpus, in the scheme of the labels.

    Args:
        split: "train", "dev" or "test".
        where: whose corpus it is, for messages.

    Raises:
        DataError: there is no such split, or it has sentences without tags or with tags that the labels lack.
    """
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


def untagged_text(
    recipe: Recipe, corpus: CorpusSpec, language: str, rest: list[Sentence], root: Path | None
) -> list[Sentence]:
    """The text without tags of a language: the rest of its training sentences, or what the recipe names."""
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
