"""The encoder that fine-tunes (or freezes) any `AutoModel`; sub-word vectors are pooled to words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from structkd.errors import DataError
from structkd.tagger.pieces import START, piece_kinds
from structkd.tagger.recurrent import BiLSTM


class PretrainedEncoder(nn.Module):
    """Word vectors [B, T, output_size] from a transformer.

    A sentence longer than the transformer reads is cut into several rows of pieces by the batcher, so pieces
    [R, P] and words [B, T] are joined by flat indices and no word is lost.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        if spec["config"] is None:
            raise ValueError("a pretrained encoder needs the configuration of its model; use structkd.tagger.create")
        config = dict(spec["config"])
        self.backbone: PreTrainedModel = AutoModel.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
        self.frozen = bool(spec["frozen"])
        self.pooling = spec["pooling"]
        size = self.backbone.config.hidden_size
        self.dropout = nn.Dropout(spec["dropout"])
        vocabulary = self.backbone.config.vocab_size
        self.piece_kinds: Tensor
        self.register_buffer("piece_kinds", torch.full((vocabulary,), START, dtype=torch.int8))
        hidden = spec["lstm_hidden"]
        self.lstm = BiLSTM(size, hidden) if hidden else None
        self.output_size = 2 * hidden if hidden else size
        self.freeze()

    def freeze(self) -> None:
        """Take the transformer's weights out of training where the configuration says so."""
        if self.frozen:
            self.backbone.requires_grad_(False)

    def learn_pieces(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Keep which pieces start a word, for callers that pass no word map."""
        kinds = piece_kinds(tokenizer)[: len(self.piece_kinds)]
        self.piece_kinds[: len(kinds)] = kinds

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """As usual, but a frozen transformer stays without dropout."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(
        self, mask: Tensor, input_ids: Tensor, attention_mask: Tensor, word_pieces: Tensor, piece_words: Tensor
    ) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            pieces = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        flat = pieces.reshape(-1, pieces.shape[-1])
        if self.pooling == "first":
            words = flat[word_pieces]
        else:
            words = mean_of_pieces(flat, piece_words.reshape(-1), word_pieces)
        words = self.dropout(words)
        return words if self.lstm is None else self.dropout(self.lstm(words, mask))


def mean_of_pieces(pieces: Tensor, piece_words: Tensor, word_pieces: Tensor) -> Tensor:
    """Mean vector [B, T, H] of the pieces of each word; a word without pieces takes the one `word_pieces` names.

    Args:
        pieces: [R * P, H].
        piece_words: [R * P] flat index (row * T + position) of the word of each piece, -1 for none.
        word_pieces: [B, T] flat index of the first piece of each word.
    """
    total = word_pieces.numel()
    target = torch.where(piece_words < 0, total, piece_words)
    sums = pieces.new_zeros(total + 1, pieces.shape[-1]).index_add(0, target, pieces)
    counts = pieces.new_zeros(total + 1).index_add(0, target, pieces.new_ones(len(target)))
    means = sums[:total] / counts[:total].clamp(min=1).unsqueeze(1)
    first = pieces[word_pieces.reshape(-1)]
    return torch.where(counts[:total].unsqueeze(1) > 0, means, first).view(*word_pieces.shape, -1)


def check_model_name(name: str) -> str:
    """Refuse a mistyped local path at once instead of asking the hub for it."""
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    path = Path(name).expanduser()
    if path.exists():
        return str(path)
    if looks_local:
        raise DataError(f"no model at {name}: expected a folder with config.json, or the name of a model on the hub")
    return name


def load_backbone(spec: dict[str, Any]) -> PreTrainedModel:
    """The pretrained weights that a `type: pretrained` encoder starts from; `layers: k` keeps the first k."""
    if not spec.get("model"):
        raise DataError("encoder.model is missing: expected a folder or the name of a model on the hub")
    extra = {"num_hidden_layers": spec["layers"]} if spec.get("layers") else {}
    name = check_model_name(spec["model"])
    model: PreTrainedModel = AutoModel.from_pretrained(name, revision=spec.get("revision"), **extra)
    return model
