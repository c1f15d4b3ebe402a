"""Word features of the recurrent encoder: hashed character n-grams, affixes, the word itself and its shape.

Hashes are CRC-32 of UTF-8 bytes, so that a saved model reads the same features on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SHAPE_BUCKETS = 512


class WordFeatures(NamedTuple):
    """Features of one word type."""

    ngrams: np.ndarray  # [N] buckets of its n-grams and affixes
    word: int  # bucket of the lower-cased word; 0 where words are not embedded
    shape: int  # bucket of its shape


def bucket(text: str, buckets: int) -> int:
    """The hash bucket of a string, in [0, buckets)."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % buckets


def word_shape(word: str) -> str:
    """Case, digits and script of each run of characters, runs cut to two: `McDonald-3` -> `XxXxx-d`."""
    shape: list[str] = []
    for character in word[:24]:
        if character.isdigit():
            kind = "d"
        elif character.isalpha():
            kind = "X" if character.isupper() else "x" if character.islower() else "a"
        else:
            kind = character
        if len(shape) < 2 or shape[-1] != kind or shape[-2] != kind:
            shape.append(kind)
    return "".join(shape)


def ngram_strings(word: str, orders: Sequence[int], affix_length: int) -> list[str]:
    """Character n-grams of `<word>` (lower-cased) and its prefixes and suffixes of up to `affix_length`."""
    bounded = f"<{word.lower()[:64]}>"
    grams = [bounded[i : i + n] for n in orders for i in range(len(bounded) - n + 1)]
    longest = max(orders, default=0)
    for length in range(longest + 1, affix_length + 1):
        if length < len(bounded):
            grams.append(f"^{bounded[:length]}")
            grams.append(f"{bounded[-length:]}$")
    return grams


class WordFeaturizer:
    """Turns words into the tensors that `RecurrentEncoder` reads; each word type is hashed once."""

    def __init__(
        self, *, ngram_buckets: int, ngram_orders: Sequence[int], affix_length: int, word_buckets: int
    ) -> None:
        self._cached = lru_cache(maxsize=500_000)(self._features)
        self.ngram_buckets = ngram_buckets
        self.ngram_orders = tuple(ngram_orders)
        self.affix_length = affix_length
        self.word_buckets = word_buckets

    def _features(self, word: str) -> WordFeatures:
        grams = ngram_strings(word, self.ngram_orders, self.affix_length)
        ngrams = np.fromiter((bucket(gram, self.ngram_buckets) for gram in grams), dtype=np.int64, count=len(grams))
        known = bucket(word.lower(), self.word_buckets) if self.word_buckets else 0
        return WordFeatures(ngrams, known, bucket(word_shape(word), SHAPE_BUCKETS))

    def __call__(self, sentences: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """Features of a batch; each distinct word is listed once.

        Returns:
            `ngram_ids` [N], `ngram_offsets` [U], `word_ids` [U] and `shape_ids` [U] of the U distinct words, and
            `word_index` [B, T] that says which of them stands where (0 on padding).
        """
        index: dict[str, int] = {}
        longest = max(len(words) for words in sentences)
        word_index = np.zeros((len(sentences), longest), dtype=np.int64)
        for row, words in enumerate(sentences):
            word_index[row, : len(words)] = [index.setdefault(word, len(index)) for word in words]
        features = [self._cached(word) for word in index]
        lengths = np.fromiter((len(item.ngrams) for item in features), dtype=np.int64, count=len(features))
        return {
            "ngram_ids": torch.from_numpy(np.concatenate([item.ngrams for item in features])),
            "ngram_offsets": torch.from_numpy(np.concatenate(([0], np.cumsum(lengths)[:-1]))),
            "word_ids": torch.tensor([item.word for item in features]),
            "shape_ids": torch.tensor([item.shape for item in features]),
            "word_index": torch.from_numpy(word_index),
        }
