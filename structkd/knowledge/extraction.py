"""What a teacher knows about a sentence, asked once and kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from structkd.crf import LinearChainCRF


class Knowledge(NamedTuple):
    """A teacher's knowledge of one sentence of n words, at the temperature it was extracted with.

    log_marginals: [n, C] log-probabilities of the tags of each word, in nats.
    transition_counts: [C, C] expected tag pairs, summed over positions.
    entropy: of the distribution over tag sequences, in nats.
    paths: [k, n] the k best tag sequences, best first; fewer than k where fewer are legal.
    scores: [k] their unnormalised scores (their softmax are the weights of Top-WK).
    """

    log_marginals: np.ndarray
    transition_counts: np.ndarray
    entropy: float
    paths: np.ndarray
    scores: np.ndarray


class KnowledgeBatch(NamedTuple):
    """Knowledge of B sentences as padded tensors; rows without knowledge are zeros and have `known` False."""

    known: Tensor  # [B] bool
    marginals: Tensor  # [B, T, C]
    transition_counts: Tensor  # [B, C, C]
    entropy: Tensor  # [B]
    paths: Tensor  # [B, k, T], -1 beyond the length and for missing paths
    scores: Tensor  # [B, k], -inf for missing paths

    def to(self, device: torch.device | str) -> KnowledgeBatch:
        """The same on another device."""
        return KnowledgeBatch(*(part.to(device) for part in self))


def extract(distribution: LinearChainCRF, *, k: int, temperature: float = 1.0) -> list[Knowledge]:
    """Everything that objectives need from a batch of teacher distributions.

    Args:
        distribution: the teacher's, already conditioned on what the student can express.
        k: length of the k-best lists; 0 for none.
        temperature: global; every potential is divided by it before any quantity is computed.
    """
    if temperature != 1.0:
        distribution = distribution.tempered(temperature)
    with torch.no_grad():
        log_marginals = distribution.marginals.double().log().float().cpu().numpy()
        counts = distribution.transition_counts.float().cpu().numpy()
        entropy = distribution.entropy.cpu().tolist()
        lengths = distribution.lengths.cpu().tolist()
        if k:
            best = distribution.topk(k)
            paths, scores, valid = best.tags.cpu().numpy(), best.scores.float().cpu().numpy(), best.valid.cpu().numpy()
        else:
            paths = np.zeros((len(lengths), 0, max(lengths)), dtype=np.int64)
            scores = np.zeros((len(lengths), 0), dtype=np.float32)
            valid = scores.astype(bool)
    return [
        Knowledge(
            log_marginals[i, :n],
            counts[i],
            max(entropy[i], 0.0),
            paths[i, valid[i], :n],
            scores[i, valid[i]],
        )
        for i, n in enumerate(lengths)
    ]


def collate(items: list[Knowledge | None], length: int, num_tags: int) -> KnowledgeBatch:
    """Pad the knowledge of a batch; a sentence without any (None) gives an empty row.

    Args:
        length: T, the longest sentence of the batch.
    """
    batch = len(items)
    k = max((len(item.scores) for item in items if item is not None), default=0)
    known = np.array([item is not None for item in items])
    marginals = np.zeros((batch, length, num_tags), dtype=np.float32)
    counts = np.zeros((batch, num_tags, num_tags), dtype=np.float32)
    entropy = np.zeros(batch, dtype=np.float32)
    paths = np.full((batch, k, length), -1, dtype=np.int64)
    scores = np.full((batch, k), -np.inf, dtype=np.float32)
    for row, item in enumerate(items):
        if item is None:
            continue
        n = len(item.log_marginals)
        np.exp(item.log_marginals, out=marginals[row, :n], casting="same_kind", dtype=np.float32)
        counts[row] = item.transition_counts
        entropy[row] = item.entropy
        paths[row, : len(item.scores), :n] = item.paths
        scores[row, : len(item.scores)] = item.scores
    return KnowledgeBatch(*(torch.from_numpy(part) for part in (known, marginals, counts, entropy, paths, scores)))
