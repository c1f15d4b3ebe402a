"""From words to the tensors that an encoder reads: the one word <-> piece map of the toolkit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from structkd.tagger.features import WordFeaturizer


class Batcher(Protocol):
    """Turns sentences of words, and their languages if known, into keyword arguments of `CRFTagger.forward`."""

    def __call__(
        self, sentences: Sequence[Sequence[str]], languages: Sequence[str] | None = None
    ) -> dict[str, Tensor]: ...


class LanguageBatcher:
    """Adds `languages` [B], ids in a list of languages, -1 for others, to what another batcher makes."""

    def __init__(self, batcher: Batcher, languages: Sequence[str]) -> None:
        self.batcher = batcher
        self.ids = {language: i for i, language in enumerate(languages)}

    def __call__(self, sentences: Sequence[Sequence[str]], languages: Sequence[str] | None = None) -> dict[str, Tensor]:
        ids = [-1] * len(sentences) if languages is None else [self.ids.get(name, -1) for name in languages]
        return {**self.batcher(sentences), "languages": torch.tensor(ids)}


def word_mask(sentences: Sequence[Sequence[str]]) -> Tensor:
    """Right-padded mask [B, T]: True on words."""
    lengths = torch.tensor([len(words) for words in sentences])
    return torch.arange(int(lengths.max())) < lengths.unsqueeze(1)


class RecurrentBatcher:
    """Features of words for `RecurrentEncoder`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        names = ("ngram_buckets", "ngram_orders", "affix_length", "word_buckets")
        self.featurizer = WordFeaturizer(**{name: spec[name] for name in names})

    def __call__(self, sentences: Sequence[Sequence[str]], languages: Sequence[str] | None = None) -> dict[str, Tensor]:
        return {"mask": word_mask(sentences), **self.featurizer(sentences)}


class PretrainedBatcher:
    """Pieces of words for `PretrainedEncoder`.

    Args:
        tokenizer: a fast tokenizer (it must know which word a piece came from).
        max_pieces: pieces a row, special ones included; longer sentences are cut into rows between words.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_pieces: int | None = None) -> None:
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} has no fast version, which the word map needs")
        self.tokenizer = tokenizer
        self.max_pieces = min(max_pieces or 512, tokenizer.model_max_length)
        self.special = tokenizer.num_special_tokens_to_add()

    def __call__(self, sentences: Sequence[Sequence[str]], languages: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Rows of pieces and the map between them and words.

        Returns:
            `mask` [B, T]; `input_ids`, `attention_mask` [R, P]; `word_pieces` [B, T], flat index (row * P + piece)
            of the first piece of each word; `piece_words` [R, P], flat index of the word of each piece, -1 for none.
            A word that the tokenizer turns into nothing points at the first piece of its row.
        """
        mask = word_mask(sentences)
        rows = [(i, 0, list(words)) for i, words in enumerate(sentences)]
        encoded = self._encode([words for _, _, words in rows])
        if encoded["input_ids"].shape[1] > self.max_pieces:
            rows = [
                (i, start, part)
                for i, _, words in rows
                for start, part in self._cut(words, Counter(encoded.word_ids(i)))
            ]
            encoded = self._encode([part for _, _, part in rows], truncation=True, max_length=self.max_pieces)
        width = encoded["input_ids"].shape[1]
        word_pieces = torch.zeros(mask.shape, dtype=torch.long)
        piece_words = torch.full(encoded["input_ids"].shape, -1)
        for row, (sentence, start, part) in enumerate(rows):
            word_pieces[sentence, start : start + len(part)] = row * width
            previous = None
            for piece, word in enumerate(encoded.word_ids(row)):
                if word is None:
                    continue
                piece_words[row, piece] = sentence * mask.shape[1] + start + word
                if word != previous:
                    word_pieces[sentence, start + word] = row * width + piece
                previous = word
        return {
            "mask": mask,
            "input_ids": encoded["input_ids"],
            "attention_mask": encoded["attention_mask"],
            "word_pieces": word_pieces,
            "piece_words": piece_words,
        }

    def _encode(self, sentences: list[list[str]], **options: Any) -> BatchEncoding:
        return self.tokenizer(sentences, is_split_into_words=True, padding=True, return_tensors="pt", **options)

    def _cut(self, words: list[str], counts: Counter[int | None]) -> list[tuple[int, list[str]]]:
        """Parts of a sentence that fit into a row of pieces, each with the position of its first word."""
        room = self.max_pieces - self.special
        rows: list[tuple[int, list[str]]] = []
        used = room + 1
        for position, word in enumerate(words):
            if used + counts[position] > room:
                rows.append((position, []))
                used = 0
            rows[-1][1].append(word)
            used += counts[position]
        return rows
