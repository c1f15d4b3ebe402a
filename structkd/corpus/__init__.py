"""Corpora: sentences, and the readers that make them from files, the hub and the embedded sample."""

from __future__ import annotations

from structkd.corpus.annotations import Annotation, match_annotations, read_annotations
from structkd.corpus.read import READERS, check_tags, find_file, read
from structkd.corpus.sentence import Sentence, evenly_spaced, token_fingerprint
from structkd.corpus.text import tokenise

__all__ = [
    "READERS",
    "Annotation",
    "Sentence",
    "check_tags",
    "evenly_spaced",
    "find_file",
    "match_annotations",
    "read",
    "read_annotations",
    "token_fingerprint",
    "tokenise",
]
