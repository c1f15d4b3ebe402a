"""CoNLL-U, https://universaldependencies.org/format.html."""

from __future__ import annotations

import re
from pathlib import Path

from structkd.corpus.files import Faults, RawSentence, read_lines
from structkd.errors import DataError

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_SENT_ID = re.compile(r"#\s*sent_id\s*=?\s*(\S.*)")
# A multiword range (1-2) repeats the surface of the words after it; an empty node (1.1) was never written.
_NOT_A_WORD = re.compile(r"[0-9]+[-.][0-9]+")


def read_conllu(
    path: Path, *, tag_column: str | int | None = None, word_column: str | int | None = None
) -> list[RawSentence]:
    """Sentences of a CoNLL-U file, without multiword ranges and empty nodes.

    Args:
        path: the file, plain or gzip.
        tag_column: name (`upos`, `xpos`, `deprel`, ...) or 0-based number; default `upos`; "none" reads no tags.
        word_column: name or number; default `form`.

    Raises:
        DataError: lists every line with a wrong number of columns, a wrong id, no form or no tag (`_`).
    """
    word_at = _column(path, word_column, "form")
    tag_at = None if tag_column == "none" else _column(path, tag_column, "upos")
    faults = Faults(path)
    sentences: list[RawSentence] = []
    words: list[str] = []
    tags: list[str] = []
    identifier: str | None = None
    first_line = expected = 1
    for number, line in enumerate([*read_lines(path), ""], start=1):
        if not line.strip(" "):
            if words:
                sentences.append(RawSentence(words, None if tag_at is None else tags, first_line, identifier))
            words, tags, identifier, expected = [], [], None, 1
            continue
        if line[0] == "#":
            if match := _SENT_ID.match(line):
                identifier = match[1].rstrip()
            continue
        columns = line.split("\t")
        if len(columns) != 10:
            faults.add(number, f"{len(columns)} columns separated by TAB, CoNLL-U has 10")
            expected += 1
            continue
        if columns[0] != str(expected):
            if _NOT_A_WORD.fullmatch(columns[0]):
                continue
            faults.add(number, f"word id {columns[0]!r}, expected {expected}; is an empty line missing before it?")
            expected = int(columns[0]) if columns[0].isdecimal() else expected
        expected += 1
        if not columns[word_at]:
            faults.add(number, "the form is empty")
        if not words:
            first_line = number
        words.append(columns[word_at])
        if tag_at is not None:
            if columns[tag_at] in ("_", ""):
                faults.add(number, f"no {COLUMNS[tag_at]} tag; read unlabelled text with `tag_column: none`")
            tags.append(columns[tag_at])
    faults.raise_if_any()
    return sentences


def _column(path: Path, column: str | int | None, default: str) -> int:
    if column is None:
        column = default
    if isinstance(column, str) and column in COLUMNS:
        return COLUMNS.index(column)
    if isinstance(column, int) and -10 <= column < 10:
        return column % 10
    raise DataError(f"{path}: CoNLL-U has no column {column!r}: expected one of {', '.join(COLUMNS)}, or 0 to 9")
