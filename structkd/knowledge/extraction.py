"""What a teacher knows about a sentence, asked once and kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.errors import UsageError

PARTS = ("emissions", "transitions")
"""What is kept only where an objective asks for it; all else is always kept."""


class Question(NamedTuple):
    """What is asked of whoever knows something about sentences.

    k: length of the k-best lists; 0 for none.
    temperature: global; every potential is divided by it before any quantity is computed.
    parts: what to keep besides, out of PARTS.
    """

    k: int
    temperature: float = 1.0
    parts: Collection[str] = ()


class Knowledge(NamedTuple):
    """A teacher's knowledge of one sentence of n words, at the temperature it was extracted with.

    log_marginals: [n, C] log-probabilities of the tags of each word, in nats.
    transition_counts: [C, C] expected tag pairs, summed over positions.
    entropy: of the distribution over tag sequences, in nats; of a mixture, the mean of those of its members; NaN where
        it is not known, and then no KL divergence is reported.
    paths: [k, n] the k best tag sequences, best first; fewer than k where fewer are legal.
    scores: [k] their unnormalised scores (their softmax are the weights of Top-WK).
    emissions: [n, C] log-softmax of the emission scores; None where nobody asked. A CRF's scores are only defined up to
        a constant for each word, so nothing is lost, and float16 is finest where the probability is.
    transitions: [C + 2, C] scores of tag pairs, then of first and last tags; None where nobody asked.
    """

    log_marginals: np.ndarray
    transition_counts: np.ndarray
    entropy: float
    paths: np.ndarray
    scores: np.ndarray
    emissions: np.ndarray | None = None
    transitions: np.ndarray | None = None


class KnowledgeBatch(NamedTuple):
    """Knowledge of B sentences as padded tensors; rows without knowledge are zeros and have `known` False."""

    known: Tensor  # [B] bool
    marginals: Tensor  # [B, T, C]; every word sums to 1
    transition_counts: Tensor  # [B, C, C]
    entropy: Tensor  # [B]
    paths: Tensor  # [B, k, T], -1 beyond the length and for missing paths
    scores: Tensor  # [B, k], -inf for missing paths
    emissions: Tensor | None = None  # [B, T, C], -inf beyond the length and where nothing is known
    transitions: Tensor | None = None  # [B, C + 2, C]

    def to(self, device: torch.device | str) -> KnowledgeBatch:
        """The same on another device."""
        return KnowledgeBatch._make(None if part is None else part.to(device) for part in self)


def extract(distribution: LinearChainCRF, asked: Question) -> list[Knowledge]:
    """Everything that objectives need from a batch of teacher distributions.

    Args:
        distribution: the teacher's, already conditioned on what the student can express.

    Raises:
        UsageError: transitions are asked of a chain whose transitions depend on the position.
    """
    if asked.temperature != 1.0:
        distribution = distribution.tempered(asked.temperature)
    with torch.no_grad():
        log_marginals = distribution.marginals.double().log().float().cpu().numpy()
        counts = distribution.transition_counts.float().cpu().numpy()
        entropy = distribution.entropy.cpu().tolist()
        lengths = distribution.lengths.cpu().tolist()
        if asked.k:
            best = distribution.topk(asked.k)
            paths, scores, valid = best.tags.cpu().numpy(), best.scores.float().cpu().numpy(), best.valid.cpu().numpy()
        else:
            paths = np.zeros((len(lengths), 0, max(lengths)), dtype=np.int64)
            scores = np.zeros((len(lengths), 0), dtype=np.float32)
            valid = scores.astype(bool)
        emissions = distribution.emissions.log_softmax(-1).float().cpu().numpy() if "emissions" in asked.parts else None
        transitions = _transitions(distribution) if "transitions" in asked.parts else None
    return [
        Knowledge(
            log_marginals[i, :n],
            counts[i],
            max(entropy[i], 0.0),
            paths[i, valid[i], :n],
            scores[i, valid[i]],
            None if emissions is None else emissions[i, :n],
            None if transitions is None else transitions[i],
        )
        for i, n in enumerate(lengths)
    ]


def _transitions(distribution: LinearChainCRF) -> np.ndarray:
    """[B, C + 2, C]: transitions, start, end."""
    batch, c = len(distribution.lengths), distribution.num_tags
    if distribution.transitions.dim() == 4:
        raise UsageError("this teacher's transitions depend on the position; objective substructure_mse needs one set")
    ends = (distribution.start_transitions, distribution.end_transitions)
    rows = [distribution.transitions.expand(batch, c, c), *(x.expand(batch, c)[:, None] for x in ends)]
    return torch.cat(rows, 1).float().cpu().numpy()


def collate(items: list[Knowledge | None], length: int, num_tags: int) -> KnowledgeBatch:
    """Pad the knowledge of a batch; a sentence without any (None) gives an empty row.

    Marginals are scaled to sum to 1 at every word, which mends what float16 rounded.

    Args:
        length: T, the longest sentence of the batch.
    """
    batch = len(items)
    present = [item for item in items if item is not None]
    k = max((len(item.scores) for item in present), default=0)
    known = np.array([item is not None for item in items])
    marginals = np.zeros((batch, length, num_tags), dtype=np.float32)
    counts = np.zeros((batch, num_tags, num_tags), dtype=np.float32)
    entropy = np.zeros(batch, dtype=np.float32)
    paths = np.full((batch, k, length), -1, dtype=np.int64)
    scores = np.full((batch, k), -np.inf, dtype=np.float32)
    # Teachers may differ in what they could be asked; an objective that misses a part says so.
    emissions = transitions = None
    if present and all(item.emissions is not None for item in present):
        emissions = np.full((batch, length, num_tags), -np.inf, dtype=np.float32)
    if present and all(item.transitions is not None for item in present):
        transitions = np.zeros((batch, num_tags + 2, num_tags), dtype=np.float32)
    for row, item in enumerate(items):
        if item is None:
            continue
        n = len(item.log_marginals)
        np.exp(item.log_marginals, out=marginals[row, :n], casting="same_kind", dtype=np.float32)
        counts[row] = item.transition_counts
        entropy[row] = item.entropy
        paths[row, : len(item.scores), :n] = item.paths
        scores[row, : len(item.scores)] = item.scores
        if emissions is not None:
            emissions[row, :n] = item.emissions
        if transitions is not None:
            transitions[row] = item.transitions
    total = marginals.sum(-1, keepdims=True)
    marginals /= np.where(total > 0, total, 1)
    made = (known, marginals, counts, entropy, paths, scores, emissions, transitions)
    return KnowledgeBatch._make(None if part is None else torch.from_numpy(part) for part in made)
