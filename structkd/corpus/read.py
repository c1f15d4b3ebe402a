"""One door to all corpora: from a location to checked sentences."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from structkd.corpus.columns import read_columns
from structkd.corpus.conllu import read_conllu
from structkd.corpus.files import Faults, RawSentence
from structkd.corpus.hub import read_hub
from structkd.corpus.jsonl import read_jsonl
from structkd.corpus.sample import read_sample
from structkd.corpus.sentence import Sentence
from structkd.corpus.text import read_text
from structkd.errors import DataError, UsageError
from structkd.labels import LabelSet, repair

logger = logging.getLogger(__name__)

READERS: tuple[str, ...] = ("conllu", "columns", "jsonl", "text", "sample", "hub")
"""The formats that `read` knows by name."""

_FILE_READERS: dict[str, Callable[..., list[RawSentence]]] = {
    "conllu": read_conllu,
    "columns": read_columns,
    "jsonl": read_jsonl,
}
_SUFFIXES = {
    **dict.fromkeys((".conllu",), "conllu"),
    **dict.fromkeys((".iob2", ".iob", ".bio", ".conll", ".tsv"), "columns"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".txt",), "text"),
}


def read(
    location: str | Path,
    *,
    language: str,
    format: str = "auto",
    root: str | Path | None = None,
    tag_column: str | int | None = None,
    word_column: str | int | None = None,
    scheme: str | None = None,
    hub: str | None = None,
    config: str | None = None,
    revision: str | None = None,
) -> list[Sentence]:
    """Read a corpus.

    Args:
        location: a file (plain or gzip); for `hub` and `sample` the name of a split.
        language: BCP-47 code of the sentences; a JSONL line may name its own.
        format: one of READERS; "auto" is `hub` if one is named, and otherwise by the file's name.
        root: folder that a relative location starts from.
        tag_column: where the tags are: a name for conllu, jsonl, hub and sample (there the task), a 0-based number for
            columns; None for the format's default; "none" reads unlabelled text.
        word_column: where the words are, likewise.
        scheme: scheme of entity tags; tags that break it are repaired and one warning says how many.
        hub: id of a data set on the Hugging Face hub, with its `config` and `revision`.
        config: configuration of the hub data set.
        revision: commit of the hub data set.

    Returns:
        The sentences in their order; ids are unique, those that the file lacks are the sentence's number.

    Raises:
        DataError: names the file and every faulty line; UsageError for arguments that do not fit together.
    """
    if format != "auto" and format not in READERS:
        raise UsageError(f"format {format!r} is unknown: expected auto, {', '.join(READERS)}")
    if format == "hub" or (format == "auto" and hub is not None):
        if hub is None:
            raise UsageError("format 'hub' needs the id of a data set: hub='owner/name'")
        raw = read_hub(
            hub, str(location), config=config, revision=revision, tag_column=tag_column, word_column=word_column
        )
        return _finish(raw, f"{hub}[{location}]", language, scheme)
    if hub is not None or config is not None or revision is not None:
        raise UsageError(f"hub, config and revision belong to format 'hub', not to {format!r}")
    if format == "sample":
        return read_sample(str(location), language, tag_column)
    path = find_file(location, root)
    if format == "auto":
        format = _format_of(path)
    if format == "text":
        return _finish(read_text(path, language=language), str(path), language, None)
    raw = _FILE_READERS[format](path, tag_column=tag_column, word_column=word_column)
    return _finish(raw, str(path), language, scheme)


def check_tags(sentences: Iterable[Sentence], label_set: LabelSet, where: str) -> None:
    """Make sure that every tag is in the label set.

    Args:
        sentences: tagged or unlabelled sentences; unlabelled ones pass.
        label_set: the tags of the task.
        where: what the sentences are, for the message: a file, a card.

    Raises:
        DataError: lists each foreign tag with its number of words and the first sentence that has it.
    """
    found: dict[str, list[str]] = {}
    for sentence in sentences:
        for tag in sentence.tags or ():
            if tag not in label_set:
                found.setdefault(tag, []).append(sentence.id)
    faults = Faults(where)
    for tag, ids in found.items():
        faults.add(None, f"tag {tag!r} of {len(ids)} words (first in sentence {ids[0]}) is not in the label set")
    if found:
        faults.add(None, f"the label set has {', '.join(label_set.tags)}; change the recipe's labels or the tag column")
    faults.raise_if_any()


def find_file(location: str | Path, root: str | Path | None) -> Path:
    """The file at a location under a root.

    Raises:
        DataError: there is none; the message names the root.
    """
    path = Path(root or "") / Path(location).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        start = f"the corpus root is {root}" if root else "no corpus root is set: set corpus.root or STRUCTKD_DATA"
        raise DataError(f"{path}: {what} ({start})")
    return path


def _format_of(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    if suffix not in _SUFFIXES:
        raise DataError(f"{path}: cannot tell the format from the name; expected {', '.join(_SUFFIXES)}; or name it")
    return _SUFFIXES[suffix]


def _finish(raw: list[RawSentence], source: str, language: str, scheme: str | None) -> list[Sentence]:
    """Repair broken entities, make ids unique, freeze."""
    if not raw:
        raise DataError(f"{source}: no sentences in it")
    faults = Faults(source)
    taken: dict[str, int] = {}
    repaired, first_repair = 0, 0
    sentences = []
    for number, (words, tags, line, identifier, own_language) in enumerate(raw, start=1):
        if tags is not None and scheme is not None:
            try:
                tags, changed = repair(tags, scheme)
            except DataError as error:
                faults.add(line, str(error))
                continue
            first_repair = first_repair or (line if changed else 0)
            repaired += changed
        identifier = _unique(identifier or str(number), taken)
        frozen_tags = None if tags is None else tuple(tags)
        sentences.append(Sentence(tuple(words), frozen_tags, own_language or language, identifier))
    faults.raise_if_any()
    if repaired:
        logger.warning("%s:%d: first of %d tags that broke %s, repaired", source, first_repair, repaired, scheme)
    return sentences


def _unique(identifier: str, taken: dict[str, int]) -> str:
    count = taken.get(identifier, 0) + 1
    taken[identifier] = count
    if count == 1:
        return identifier
    # "a~2" might itself be the id of a sentence.
    return _unique(f"{identifier}~{count}", taken)
