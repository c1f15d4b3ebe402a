"""Plain text as unlabelled sentences, one a line."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

from structkd.corpus.files import RawSentence, read_lines

# Treebanks of these languages cut after an elided article or pronoun: l' homme, dell' acqua.
_ELIDING = frozenset({"ca", "co", "fr", "fur", "it", "lij", "oc", "pms", "scn", "wa"})
_ENGLISH_CLITIC = re.compile(r"(?i)(?<=\w)(n['’]t|['’](?:s|re|ve|ll|d|m))$")  # noqa: RUF001
_ELISION = re.compile(r"(?<=\w['’])(?=\w)")  # noqa: RUF001


def read_text(path: Path, *, language: str = "und") -> list[RawSentence]:
    """Every line that is not empty as a sentence, cut into words by `tokenise`."""
    return [
        RawSentence(words, None, number)
        for number, line in enumerate(read_lines(path), start=1)
        if (words := tokenise(line, language))
    ]


def tokenise(text: str, language: str = "und") -> list[str]:
    """Words and punctuation marks of a line, roughly as treebanks cut them.

    A word is a run of letters, digits, underscores and combining marks. Inside it may stand single hyphens and
    apostrophes between letters (`well-known`, `O'Neill`), and points, commas and colons between digits (`10,000.5`).
    Addresses (`https://...`) stay whole; a run of one of `.!?*=~-` is one word (`...`); any other mark is a word of
    its own. English clitics (`do n't`, `it 's`) and elided words of French, Italian and Catalan (`l' homme`) are cut
    off. Languages written without blanks need tokenised columns instead.
    """
    words = [match[0] for match in _pattern().finditer(text)]
    base = language.split("-")[0]
    if base == "en":
        return [part for word in words for part in _ENGLISH_CLITIC.split(word) if part]
    if base in _ELIDING:
        return [part for word in words for part in _ELISION.split(word)]
    return words


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    # \w leaves out combining marks, without which words of Hindi or Thai fall apart; the last ones are below U+20000.
    marks = "".join(chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    letters = rf"[\w{marks}]+"
    word = rf"{letters}(?:(?:(?<=\d)[.,:](?=\d)|[-‐'’](?=\w)){letters})*"  # noqa: RUF001
    return re.compile(rf"https?://\S+|{word}|([.!?*=~_-])\1*|[^\w\s]")
