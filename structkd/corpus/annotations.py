"""Annotations of other makers: another toolkit, a large language model, the votes of people.

A file is JSONL. Each line is a sentence with an `id`, its `words` and one of

- `"tags": ["O", null, "B-PER"]`: a tag for each word, null where it is not known;
- `"nbest": [{"tags": [...], "weight": 0.7}, ...]`: alternative taggings with weights above 0;
- `"posteriors": [{"NOUN": 0.9, "VERB": 0.1}, ...]`: the probabilities of the tags of each word; what is left out is 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from structkd.corpus.files import Faults, read_lines
from structkd.corpus.sentence import Sentence

KINDS = ("tags", "nbest", "posteriors")
SUM_TOLERANCE = 1e-3  # of the probabilities of a word, which other makers have rounded


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a line says about a sentence; exactly one of `tags`, `nbest` and `posteriors` is there.

    Attributes:
        line: of the file, from 1.
        id: of the sentence.
        words: None where the line leaves them to the corpus.
        language: None where the line does not say.
        tags: one a word, None where it is not known.
        nbest: taggings and their weights, which need not sum to 1.
        posteriors: tag -> probability for each word, summing to 1.
    """

    line: int
    id: str
    words: tuple[str, ...] | None
    language: str | None = None
    tags: tuple[str | None, ...] | None = None
    nbest: tuple[tuple[tuple[str, ...], float], ...] | None = None
    posteriors: tuple[dict[str, float], ...] | None = None

    @property
    def length(self) -> int:
        """Number of words."""
        if self.words is not None:
            return len(self.words)
        return len(self.tags or self.posteriors or (self.nbest or (((), 1.0),))[0][0])


def read_annotations(path: Path, *, language: str | None = None) -> list[Annotation]:
    """Read a file of annotations and check its form.

    Args:
        language: if given, lines that name another language are faults.

    Raises:
        DataError: lists every faulty line.
    """
    faults = Faults(path)
    found: list[Annotation] = []
    lines: dict[str, int] = {}
    for number, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            faults.add(number, f"not JSON: {error.msg} at column {error.colno}")
            continue
        if not isinstance(row, dict):
            faults.add(number, f"expected an object, got {type(row).__name__}")
            continue
        if language is not None and row.get("language", language) != language:
            faults.add(number, f"language {row['language']!r}, expected {language!r}")
        try:
            annotation = _annotation(row, number)
        except ValueError as error:
            faults.add(number, str(error))
            continue
        if annotation.id in lines:
            faults.add(number, f"sentence {annotation.id!r} is already on line {lines[annotation.id]}")
        lines.setdefault(annotation.id, number)
        found.append(annotation)
    if not found:
        faults.add(None, "no annotations in it")
    faults.raise_if_any()
    return found


def match_annotations(
    annotations: Sequence[Annotation], sentences: Sequence[Sentence] | None, path: Path
) -> list[Annotation]:
    """Annotations with their words, checked against the corpus that they are about.

    Args:
        sentences: of the corpus; None where the annotations bring their own text.
        path: of the annotations, for messages.

    Raises:
        DataError: lists every line whose sentence is not in the corpus, or has other words there, or has no words.
    """
    faults = Faults(path)
    known = None if sentences is None else {sentence.id: sentence for sentence in sentences}
    matched = []
    for annotation in annotations:
        if known is None:
            if annotation.words is None:
                faults.add(annotation.line, 'no "words", and no corpus to take them from')
            matched.append(annotation)
            continue
        sentence = known.get(annotation.id)
        if sentence is None:
            faults.add(annotation.line, f"sentence {annotation.id!r} is not in the corpus ({len(known)} sentences)")
            continue
        difference = _difference(annotation, sentence)
        if difference:
            faults.add(annotation.line, f"sentence {annotation.id!r}: {difference}")
        matched.append(replace(annotation, words=sentence.words))
    faults.raise_if_any()
    return matched


def _difference(annotation: Annotation, sentence: Sentence) -> str | None:
    if annotation.length != len(sentence.words):
        return f"{annotation.length} words, the corpus has {len(sentence.words)}"
    for position, (own, corpus) in enumerate(zip(annotation.words or sentence.words, sentence.words, strict=True)):
        if own != corpus:
            return f"word {position + 1} is {own!r}, the corpus has {corpus!r}"
    return None


def _annotation(row: dict[str, Any], number: int) -> Annotation:
    kinds = [kind for kind in KINDS if kind in row]
    if len(kinds) != 1:
        raise ValueError(f"expected one of {', '.join(KINDS)}, got {', '.join(kinds) or 'none of them'}")
    words = None if row.get("words") is None else _strings(row["words"], "words")
    annotation = Annotation(number, str(row.get("id", number)), words, row.get("language"))
    value = row[kinds[0]]
    if not isinstance(value, list) or not value:
        raise ValueError(f'"{kinds[0]}": expected a list that is not empty, got {_shown(value)}')
    if kinds == ["tags"]:
        annotation = replace(annotation, tags=_strings(value, "tags", or_null=True))
        _check_length(len(value), words, "tags")
    elif kinds == ["nbest"]:
        annotation = replace(annotation, nbest=tuple(_alternative(item, words) for item in value))
        lengths = sorted({len(tags) for tags, _ in annotation.nbest or ()})
        if len(lengths) > 1:
            raise ValueError(f'"nbest": taggings of different lengths: {", ".join(map(str, lengths))}')
    else:
        annotation = replace(annotation, posteriors=tuple(_shares(item, i) for i, item in enumerate(value, start=1)))
        _check_length(len(value), words, "posteriors")
    return annotation


def _alternative(item: Any, words: tuple[str, ...] | None) -> tuple[tuple[str, ...], float]:
    if not isinstance(item, dict) or set(item) != {"tags", "weight"}:
        raise ValueError(f'"nbest": expected objects {{"tags": [...], "weight": 0.5}}, got {_shown(item)}')
    weight = item["weight"]
    if not _is_number(weight) or not 0 < weight < float("inf"):
        raise ValueError(f'"nbest": weight {_shown(weight)}, expected a number above 0')
    tags = _strings(item["tags"], "nbest")
    _check_length(len(tags), words, "tags in nbest")
    return tags, float(weight)


def _shares(item: Any, position: int) -> dict[str, float]:
    if not isinstance(item, dict) or not all(
        _is_number(share) and 0 <= share < float("inf") for share in item.values()
    ):
        raise ValueError(f'"posteriors" of word {position}: expected {{"TAG": probability, ...}}, got {_shown(item)}')
    total = sum(item.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f'"posteriors" of word {position}: they sum to {total:g}, expected 1')
    return {tag: share / total for tag, share in item.items() if share > 0}


def _strings(value: Any, key: str, *, or_null: bool = False) -> tuple[Any, ...]:
    accepted = isinstance(value, list) and bool(value)
    if not accepted or not all((isinstance(x, str) and x) or (or_null and x is None) for x in value):
        raise ValueError(f'"{key}": expected strings{" or null" if or_null else ""}, got {_shown(value)}')
    return tuple(value)


def _check_length(length: int, words: tuple[str, ...] | None, what: str) -> None:
    if words is not None and length != len(words):
        raise ValueError(f"{len(words)} words but {length} {what}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
