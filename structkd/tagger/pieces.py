"""Words from pieces alone: what lets the stock Hugging Face pipeline, which passes no word map, ask a tagger."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

INSIDE, START, SPECIAL = 0, 1, 2


class PieceWords(NamedTuple):
    """The word map that a batcher would have made."""

    mask: Tensor  # [B, T] bool
    word_pieces: Tensor  # [B, T] flat index of the first piece of each word
    piece_words: Tensor  # [B, P] flat index (row * T + position) of the word of each piece, -1 for none


def piece_kinds(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """For each entry of the vocabulary [V]: does it start a word, stand inside one, or is it special?

    Told by the marks of SentencePiece, byte-level BPE and WordPiece. A WordPiece tokenizer cuts words at
    punctuation before it makes pieces, so there `U.S.` counts as four words.
    """
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    marks = [mark for mark in ("\u2581", "\u0120") if any(token.startswith(mark) for token in tokens)]
    if marks:
        kinds = [START if token.startswith(marks[0]) else INSIDE for token in tokens]
    else:
        kinds = [INSIDE if token.startswith("##") else START for token in tokens]
    for index in tokenizer.all_special_ids:
        kinds[index] = SPECIAL
    if tokenizer.unk_token_id is not None and not marks:
        kinds[tokenizer.unk_token_id] = START
    return torch.tensor(kinds, dtype=torch.int8)


def words_of_pieces(input_ids: Tensor, attention_mask: Tensor, kinds: Tensor) -> PieceWords:
    """The words of rows of pieces; a row's first ordinary piece always starts a word.

    Args:
        input_ids: [B, P].
        attention_mask: [B, P].
        kinds: [V] as `piece_kinds` makes it.
    """
    found = kinds[input_ids]
    ordinary = (found != SPECIAL) & attention_mask.bool()
    first = ordinary & (ordinary.cumsum(1) == 1)
    starts = (ordinary & (found == START)) | first
    counts = starts.sum(1)
    # A row without any word keeps one, at its first piece: a chain has at least one step.
    starts[:, 0] |= counts == 0
    ordinary = ordinary | starts
    position = starts.cumsum(1) - 1
    length = int(counts.clamp(min=1).max())
    rows, pieces = starts.nonzero(as_tuple=True)
    word_pieces = torch.zeros(len(input_ids), length, dtype=torch.long, device=input_ids.device)
    word_pieces[rows, position[rows, pieces]] = rows * input_ids.shape[1] + pieces
    mask = torch.arange(length, device=input_ids.device) < counts.clamp(min=1).unsqueeze(1)
    offsets = torch.arange(len(input_ids), device=input_ids.device).unsqueeze(1) * length
    return PieceWords(mask, word_pieces, torch.where(ordinary, offsets + position, -1))
