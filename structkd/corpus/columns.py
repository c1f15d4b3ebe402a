"""Column files: a word a line, an empty line between sentences (CoNLL-2003, WNUT, Universal NER, ...)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from structkd.corpus.files import Faults, RawSentence, read_lines
from structkd.errors import DataError

_KEY_VALUE = re.compile(r"#\s*[\w:.-]+\s*=\s")
_SENT_ID = re.compile(r"#\s*sent_id\s*=\s*(\S.*)")
_NOT_A_WORD = re.compile(r"[0-9]+[-.][0-9]+")


class _Layout(NamedTuple):
    """How the lines of one file are cut: `numbered` files have the word's number in their first column."""

    tabs: bool
    width: int
    line: int
    numbered: bool
    word_at: int
    tag_at: int | None

    def cut(self, line: str) -> list[str]:
        return _cut(line, self.tabs)


def read_columns(
    path: Path, *, tag_column: str | int | None = None, word_column: str | int | None = None
) -> list[RawSentence]:
    """Sentences of a column file.

    Columns are separated by TAB if the first word's line holds one, otherwise by blanks (U+0020 only). Lines that start
    with `#` before the first word of a sentence are comments, unless they have as many columns as the other lines
    (a word may be `#`); `# sent_id` gives the sentence its id. `-DOCSTART-` lines are skipped. A file whose first
    sentence has a `# sent_id` and whose first column numbers the words is read as Universal NER writes it: number,
    form, tag, source, annotator.

    Args:
        path: the file, plain or gzip.
        tag_column: 0-based number, negative from the right; default the last column (the third of numbered files), or
            no tags if there is only one column; "none" reads no tags.
        word_column: 0-based number; default the first column (the second of numbered files).

    Raises:
        DataError: lists every line with another number of columns than the first, an empty word or no tag.
    """
    lines = read_lines(path)
    layout = _layout(path, lines, tag_column, word_column)
    faults = Faults(path)
    sentences: list[RawSentence] = []
    words: list[str] = []
    tags: list[str] = []
    identifier: str | None = None
    first_line = 1
    for number, line in enumerate([*lines, ""], start=1):
        if _is_blank(line):
            if words:
                sentences.append(RawSentence(words, None if layout.tag_at is None else tags, first_line, identifier))
            words, tags, identifier = [], [], None
            continue
        columns = layout.cut(line)
        if line[0] == "#" and not words and _is_comment(line, columns, layout.width):
            if match := _SENT_ID.match(line):
                identifier = match[1].rstrip()
            continue
        if columns[0] == "-DOCSTART-":
            continue
        if len(columns) != layout.width:
            by = "TAB" if layout.tabs else "blanks"
            faults.add(
                number, f"{len(columns)} columns separated by {by}, expected {layout.width} as in line {layout.line}"
            )
            continue
        if layout.numbered and _NOT_A_WORD.fullmatch(columns[0]):
            continue
        if not columns[layout.word_at]:
            faults.add(number, "the word is empty")
        if not words:
            first_line = number
        words.append(columns[layout.word_at])
        if layout.tag_at is not None:
            if not columns[layout.tag_at]:
                faults.add(number, f"no tag in column {layout.tag_at}")
            tags.append(columns[layout.tag_at])
    faults.raise_if_any()
    return sentences


def _layout(path: Path, lines: list[str], tag_column: str | int | None, word_column: str | int | None) -> _Layout:
    """Cut of the lines, decided by the first sentence."""
    number, line = next(_words_lines(lines), (1, lines[0]))
    tabs = "\t" in line
    width = len(_cut(line, tabs))
    numbered = False
    if tabs and width >= 3:
        start = next(i for i, text in enumerate(lines) if not _is_blank(text))
        sentence = list(takewhile(lambda text: not _is_blank(text), lines[start:]))
        ids = [text.partition("\t")[0] for text in sentence if "\t" in text and not _KEY_VALUE.match(text)]
        ids = [i for i in ids if not _NOT_A_WORD.fullmatch(i)]
        numbered = any(_SENT_ID.match(text) for text in sentence) and ids == [str(i + 1) for i in range(len(ids))]
    word_at = _column(path, "word_column", 1 if numbered else 0, word_column, width)
    if tag_column == "none" or (tag_column is None and width == 1):
        return _Layout(tabs, width, number, numbered, word_at, None)
    tag_at = _column(path, "tag_column", 2 if numbered else -1, tag_column, width)
    if tag_at == word_at:
        raise DataError(f"{path}:{number}: words and tags are both read from column {word_at} of {width}")
    return _Layout(tabs, width, number, numbered, word_at, tag_at)


def _words_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines that surely hold a word: a line that starts with `#` might be a comment."""
    for number, line in enumerate(lines, start=1):
        if not _is_blank(line) and line[0] != "#" and not line.startswith("-DOCSTART-"):
            yield number, line


def _column(path: Path, name: str, default: int, column: str | int | None, width: int) -> int:
    if column is None:
        column = default
    if isinstance(column, str):
        raise DataError(f"{path}: {name} {column!r} is a name; a column file needs a number, 0 for the first column")
    if not -width <= column < width:
        raise DataError(f"{path}: {name} {column} is not there: the file has {width} columns, 0 to {width - 1}")
    return column % width


def _is_blank(line: str) -> bool:
    # str.strip() would also take a word such as U+00A0 for blank.
    return not line.strip(" \t")


def _is_comment(line: str, columns: list[str], width: int) -> bool:
    if _KEY_VALUE.match(line):
        return True
    return len(columns) != width and line.startswith("# ")


def _cut(line: str, tabs: bool) -> list[str]:
    return line.split("\t") if tabs else [part for part in line.split(" ") if part]
