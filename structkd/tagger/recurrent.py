"""The encoder that trains from scratch: bag of hashed character n-grams -> bidirectional LSTM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
        self.ngram_dropout = float(spec["ngram_dropout"])
        size = spec["ngram_dim"] + (spec["word_dim"] if self.words else 0) + (spec["shape_dim"] if self.shapes else 0)
        self.dropout = nn.Dropout(spec["dropout"])
        self.lstm = BiLSTM(size, spec["hidden"], layers=spec["layers"], dropout=spec["dropout"])
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
        kept = None
        if self.training and self.ngram_dropout:
            kept = (torch.rand(len(ngram_ids), device=ngram_ids.device) >= self.ngram_dropout).float()
            kept = kept / (1 - self.ngram_dropout)
        parts = [
            self.ngrams(ngram_ids, ngram_offsets, per_sample_weights=kept) * lengths.clamp(min=1).rsqrt().unsqueeze(1)
        ]
        if self.words is not None:
            parts.append(self.words(word_ids))
        if self.shapes is not None:
            parts.append(self.shapes(shape_ids))
        vectors = self.dropout(torch.cat(parts, dim=-1)[word_index])
        if self.training and self.word_dropout:
            vectors = vectors * (torch.rand_like(vectors[..., :1]) >= self.word_dropout)
        return self.dropout(self.lstm(vectors, mask))


class BiLSTM(nn.Module):
    """A bidirectional LSTM over right-padded word vectors; no word is influenced by padding.

    Each direction is an LSTM of its own over plain padded tensors, the backward one over reversed sentences: on a CPU
    that is about twice as fast as one bidirectional LSTM over packed sequences, which PyTorch runs step by step.
    """

    def __init__(self, input_size: int, hidden: int, *, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [input_size] + [2 * hidden] * (layers - 1)
        self.left_to_right = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.right_to_left = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[B, T, input_size], [B, T] -> [B, T, 2 * hidden]."""
        lengths = mask.sum(dim=1, keepdim=True)
        steps = torch.arange(mask.shape[1], device=mask.device)
        mirror = torch.where(mask, lengths - 1 - steps, steps)
        for layer, (there, back) in enumerate(zip(self.left_to_right, self.right_to_left, strict=True)):
            if layer:
                vectors = self.dropout(vectors)
            mirrored = back(_reordered(vectors, mirror))[0]
            vectors = torch.cat([there(vectors)[0], _reordered(mirrored, mirror)], dim=-1)
        return vectors


def _reordered(vectors: Tensor, order: Tensor) -> Tensor:
    return vectors.gather(1, order.unsqueeze(-1).expand_as(vectors))
