"""Per-sentence counts: the sufficient statistics of every score, so that resampling never scores twice."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from structkd.errors import DataError, IntegrityError, UsageError
from structkd.labels.schemes import Span, spans, split_tag

IntArray = NDArray[np.int64]

TASKS = ("pos", "ner")
HITS, PREDICTED, GOLD = 0, 1, 2  # the last axis of every array of counts


@dataclass(frozen=True)
class Counts:
    """Hits, predicted and gold items of each sentence of one test set.

    An item is a word for `pos` and a strict entity span for `ner`, so one formula serves both: F1 is
    2 hits / (predicted + gold), and accuracy is the same thing where every word is predicted once.

    Attributes:
        task: `pos` or `ner`.
        overall: [sentences, 3] hits, predicted, gold.
        labels: the labels seen in gold or prediction, sorted; axis 1 of `by_label`.
        by_label: [sentences, labels, 3].
        subsets: name -> [sentences, 3], such as the words that training never showed.
    """

    task: str
    overall: IntArray
    labels: tuple[str, ...]
    by_label: IntArray
    subsets: Mapping[str, IntArray] = field(default_factory=dict)

    @property
    def sentences(self) -> int:
        """Number of sentences."""
        return len(self.overall)

    @property
    def metric(self) -> str:
        """The metric that this task is reported by."""
        return "accuracy" if self.task == "pos" else "f1"


def strict_spans(tags: Sequence[str], scheme: str = "IOB2") -> list[Span]:
    """Entities of one sentence as seqeval reads them with mode="strict", scheme=IOB2.

    An entity starts at B- and nowhere else: an I- that continues nothing belongs to no entity, and one of another
    type ends the entity before it.

    Args:
        tags: one tag a word.
        scheme: notation of the tags. Other ones than IOB2 are read by `structkd.labels.spans`, which starts a new
            entity where a tag breaks the scheme, as conlleval does.

    Returns:
        (type, start, end) with end exclusive, in order.

    Raises:
        DataError: a tag is no tag of the scheme.
    """
    if scheme != "IOB2":
        return spans(tags, scheme)
    found: list[Span] = []
    start, kind = -1, ""
    for position, tag in enumerate((*tags, "O")):
        prefix, name = split_tag(tag, scheme)
        if start >= 0 and not (prefix == "I" and name == kind):
            found.append((kind, start, position))
            start = -1
        if prefix == "B":
            start, kind = position, name
    return found


def count(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    task: str,
    scheme: str | None = None,
    words: Sequence[Sequence[str]] | None = None,
    training_words: Collection[str] | None = None,
) -> Counts:
    """Compare two taggings of the same sentences.

    Args:
        gold: tags, one list a sentence.
        predicted: tags of the same shape.
        task: `pos` (words) or `ner` (strict entity spans).
        scheme: notation of entity tags; IOB2 where none is named.
        words: the words of the sentences, for the subsets.
        training_words: forms seen in training; gives the subsets `known-words` and `unknown-words` of `pos`.

    Returns:
        The counts of each sentence.

    Raises:
        UsageError: unknown task, or training words without words.
        DataError: the taggings differ in length; the message names the first sentence.
    """
    if task not in TASKS:
        raise UsageError(f"task {task!r} is unknown: expected one of {', '.join(TASKS)}")
    _same_shape("predicted", gold, predicted)
    if training_words is not None and task == "pos":
        if words is None:
            raise UsageError("training_words needs the words of the sentences: pass words= too")
        _same_shape("words", gold, words)
    if task == "pos":
        items = [_word_items(g, p) for g, p in zip(gold, predicted, strict=True)]
    else:
        items = [
            (strict_spans(g, scheme or "IOB2"), strict_spans(p, scheme or "IOB2"))
            for g, p in zip(gold, predicted, strict=True)
        ]
    labels = tuple(sorted({item[0] for pair in items for side in pair for item in side}))
    column = {label: i for i, label in enumerate(labels)}
    by_label = np.zeros((len(items), len(labels), 3), dtype=np.int64)
    for row, (g_items, p_items) in zip(by_label, items, strict=True):
        for item in set(g_items) & set(p_items):
            row[column[item[0]], HITS] += 1
        for item in p_items:
            row[column[item[0]], PREDICTED] += 1
        for item in g_items:
            row[column[item[0]], GOLD] += 1
    subsets = {}
    if training_words is not None and words is not None and task == "pos":
        subsets = _by_familiarity(gold, predicted, words, frozenset(training_words))
    return Counts(task, by_label.sum(axis=1), labels, by_label, subsets)


def counts_to_json(counts: Counts) -> dict[str, Any]:
    """A JSON value that `counts_from_json` reads back without loss.

    `overall` and `subsets` are plain lists; `by_label`, seventeen times larger, is base64 of zlib of little-endian
    uint16 in the order [sentences, labels, 3].
    """
    packed = zlib.compress(np.ascontiguousarray(counts.by_label, dtype="<u2").tobytes(), 9)
    return {
        "format": 1,
        "task": counts.task,
        "overall": counts.overall.tolist(),
        "labels": list(counts.labels),
        "by_label": base64.b64encode(packed).decode("ascii"),
        "subsets": {name: array.tolist() for name, array in counts.subsets.items()},
    }


def counts_from_json(value: Mapping[str, Any]) -> Counts:
    """The counts that `counts_to_json` wrote.

    Raises:
        IntegrityError: a part is missing or of another size; the message says which and what to do.
    """
    try:
        if value["format"] != 1 or value["task"] not in TASKS:
            raise ValueError(f"format {value['format']!r}, task {value['task']!r}")
        overall = _three_columns(value["overall"])
        labels = tuple(str(label) for label in value["labels"])
        flat = np.frombuffer(zlib.decompress(base64.b64decode(value["by_label"], validate=True)), dtype="<u2")
        by_label = flat.astype(np.int64).reshape(len(overall), len(labels), 3)
        subsets = {str(name): _three_columns(rows, len(overall)) for name, rows in value["subsets"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as fault:
        raise IntegrityError(f"counts of an evaluation are damaged ({fault}): evaluate the model again") from fault
    return Counts(str(value["task"]), overall, labels, by_label, subsets)


def _word_items(gold: Sequence[str], predicted: Sequence[str]) -> tuple[list[Span], list[Span]]:
    return [(tag, i, i + 1) for i, tag in enumerate(gold)], [(tag, i, i + 1) for i, tag in enumerate(predicted)]


def _by_familiarity(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    words: Sequence[Sequence[str]],
    training_words: frozenset[str],
) -> dict[str, IntArray]:
    subsets = {name: np.zeros((len(gold), 3), dtype=np.int64) for name in ("known-words", "unknown-words")}
    for i, sentence in enumerate(zip(gold, predicted, words, strict=True)):
        for g, p, word in zip(*sentence, strict=True):
            subsets["known-words" if word in training_words else "unknown-words"][i] += (g == p, 1, 1)
    return subsets


def _same_shape(name: str, gold: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> None:
    if len(gold) != len(other):
        raise DataError(f"{name} has {len(other)} sentences, gold has {len(gold)}: pass the same sentences")
    for i, (g, o) in enumerate(zip(gold, other, strict=True)):
        if len(g) != len(o):
            raise DataError(f"{name}: sentence {i + 1} has {len(o)} words, gold has {len(g)}: pass the same sentences")


def _three_columns(rows: Any, sentences: int | None = None) -> IntArray:
    array = np.asarray(rows, dtype=np.int64).reshape(-1, 3)
    if len(array) != (len(rows) if sentences is None else sentences):
        raise ValueError(f"{len(array)} sentences instead of {sentences or len(rows)}")
    return array
