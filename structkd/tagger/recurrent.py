"""The encoder that trains from scratch: bag of hashed character n-grams -> bidirectional LSTM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from structkd.tagger.features import SHAPE_BUCKETS


class RecurrentEncoder(nn.Module):
    """Word vectors [B, T, output_size] from the features that `WordFeaturizer` makes."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.ngrams = nn.EmbeddingBag(spec["ngram_buckets"], spec["ngram_dim"], mode="sum")
        nn.init.normal_(self.ngrams.weight, std=0.1)
        self.words = nn.Embedding(spec["word_buckets"], spec["word_dim"]) if spec["word_buckets"] else None
        if self.words is not None:
            nn.init.normal_(self.words.weight, std=0.1)
        self.shapes = nn.Embedding(SHAPE_BUCKETS, spec["shape_dim"]) if spec["shape_dim"] else None
        self.word_dropout = float(spec["word_dropout"])
        size = spec["ngram_dim"] + (spec["word_dim"] if self.words else 0) + (spec["shape_dim"] if self.shapes else 0)
        self.dropout = nn.Dropout(spec["dropout"])
        layers = spec["layers"]
        self.lstm = nn.LSTM(
            size,
            spec["hidden"],
            num_layers=layers,
            batch_first=True,
            bidirectional=True,
            dropout=spec["dropout"] if layers > 1 else 0.0,
        )
        self.output_size = 2 * spec["hidden"]

    def forward(
        self,
        mask: Tensor,
        ngram_ids: Tensor,
        ngram_offsets: Tensor,
        word_ids: Tensor,
        shape_ids: Tensor,
        word_index: Tensor,
    ) -> Tensor:
        lengths = torch.diff(ngram_offsets, append=ngram_offsets.new_tensor([len(ngram_ids)]))
        # Between a sum (long words too loud) and a mean (too quiet): divide by the square root of the count.
        parts = [self.ngrams(ngram_ids, ngram_offsets) * lengths.clamp(min=1).rsqrt().unsqueeze(1)]
        if self.words is not None:
            parts.append(self.words(word_ids))
        if self.shapes is not None:
            parts.append(self.shapes(shape_ids))
        vectors = self.dropout(torch.cat(parts, dim=-1)[word_index])
        if self.training and self.word_dropout:
            vectors = vectors * (torch.rand_like(vectors[..., :1]) >= self.word_dropout)
        return self.dropout(run_lstm(self.lstm, vectors, mask))


def run_lstm(lstm: nn.LSTM, vectors: Tensor, mask: Tensor) -> Tensor:
    """A bidirectional LSTM over right-padded word vectors [B, T, H]; padding is never read."""
    lengths = mask.sum(dim=1).to("cpu")
    packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
    hidden, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=mask.shape[1])
    return hidden
