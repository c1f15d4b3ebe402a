"""JSON lines: an object a line, with lists of words and tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from structkd.corpus.files import Faults, RawSentence, read_lines
from structkd.errors import DataError

_WORDS = ("words", "tokens")


def read_jsonl(
    path: Path, *, tag_column: str | int | None = None, word_column: str | int | None = None
) -> list[RawSentence]:
    """Sentences of a JSONL file: `{"words": [...], "tags": [...], "id": ..., "language": ...}`.

    Args:
        path: the file, plain or gzip.
        tag_column: key of the tags; default `tags`, and no tags if no line has them; "none" reads no tags.
        word_column: key of the words; default `words` or `tokens`.

    Raises:
        DataError: lists every line that is not such an object.
    """
    for name, column in (("tag_column", tag_column), ("word_column", word_column)):
        if isinstance(column, int):
            raise DataError(f"{path}: {name} {column} is a number; a JSONL file needs the name of a key")
    faults = Faults(path)
    sentences: list[RawSentence] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            faults.add(number, f"not JSON: {error.msg} at column {error.colno}")
            continue
        if not isinstance(row, dict):
            faults.add(number, f"expected an object with words and tags, got {type(row).__name__}")
            continue
        key = word_column or next((name for name in _WORDS if name in row), _WORDS[0])
        words = _strings(row, str(key), number, faults)
        tags = None if tag_column == "none" else _tags(row, tag_column, number, faults)
        if words is None:
            continue
        if tags is not None and len(tags) != len(words):
            faults.add(number, f"{len(words)} words but {len(tags)} tags")
        identifier = str(row["id"]) if row.get("id") is not None else None
        sentences.append(RawSentence(words, tags, number, identifier, row.get("language")))
    untagged = [sentence.line for sentence in sentences if sentence.tags is None]
    if 0 < len(untagged) < len(sentences):
        for number in untagged:
            faults.add(number, 'no "tags", which other lines have')
    faults.raise_if_any()
    return sentences


def _tags(row: dict[str, Any], tag_column: str | int | None, number: int, faults: Faults) -> list[str] | None:
    if tag_column is None and row.get("tags") is None:
        return None
    return _strings(row, str(tag_column or "tags"), number, faults)


def _strings(row: dict[str, Any], key: str, number: int, faults: Faults) -> list[str] | None:
    """The list of non-empty strings under a key; None, and a fault, if it is anything else."""
    value = row.get(key)
    if not isinstance(value, list) or not value:
        keys = ", ".join(row) or "none"
        faults.add(number, f'expected a list of at least one string under "{key}"; the keys are {keys}')
        return None
    for item in value:
        if not isinstance(item, str) or not item.strip() or not _is_unicode(item):
            faults.add(number, f'"{key}" holds {item!r}, expected strings that are not empty')
            return None
    return value


def _is_unicode(text: str) -> bool:
    # JSON can escape half of a surrogate pair, which no file can be written with.
    return not any("\ud800" <= char <= "\udfff" for char in text)
