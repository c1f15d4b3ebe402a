"""Objectives on raw scores: mean squared errors, with the words of a sentence averaged.

CRF scores are only defined up to a constant for each word, so the scores are centred word by word before they are
compared; and a vector can be moved between neighbouring emissions and transitions, so these losses are baselines, not
divergences: they need not be 0 for equal distributions. What either side forbids is not compared.

References:
    Lin et al., 2022, https://arxiv.org/abs/2203.04825 (whose released code averages over padding too).
"""

from __future__ import annotations

import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.knowledge import KnowledgeBatch
from structkd.objective.term import Asked, Comparison, Objective


def emission_mse() -> Objective:
    """mean_i mean_c (e_s[i, c] - e_t[i, c])^2, both centred at every word."""
    return Objective((Comparison("emission_mse", _emissions, _emission_error, needs=frozenset({"emissions"})),))


def substructure_mse() -> Objective:
    """mean_i mean_bc (s_s[i, b, c] - s_t[i, b, c])^2, s[i, b, c] = transitions[b, c] + emissions[i, c], centred.

    The first word has start + emission instead, [C] scores; the end scores belong to the last word.
    """
    needs = frozenset({"emissions", "transitions"})
    return Objective((Comparison("substructure_mse", _local_scores, _substructure_error, needs=needs),))


def _emissions(knowledge: KnowledgeBatch) -> Asked:
    assert knowledge.emissions is not None
    return (knowledge.emissions,)


def _local_scores(knowledge: KnowledgeBatch) -> Asked:
    assert knowledge.emissions is not None
    assert knowledge.transitions is not None
    return knowledge.emissions, knowledge.transitions


def _emission_error(student: LinearChainCRF, asked: Asked) -> Tensor:
    difference, legal = _difference(student.emissions, asked[0])
    legal = legal & student.mask.unsqueeze(-1)
    size = legal.sum(-1, keepdim=True).clamp(min=1)
    mean = torch.where(legal, difference, 0).sum(-1, keepdim=True) / size
    squares = torch.where(legal, difference - mean, 0).square().sum(-1, keepdim=True) / size
    return squares.sum((1, 2)) / student.lengths


def _substructure_error(student: LinearChainCRF, asked: Asked) -> Tensor:
    """The mean over the cells (b, c) of a word, in O(C).

    sum_b (A_bc + d_c)^2 = sum_b A_bc^2 + 2 d_c sum_b A_bc + m_c d_c^2, where A is the difference of the transitions,
    d that of the emissions, and m_c the number of legal b.
    """
    emissions, transitions = asked
    batch, length, c = emissions.shape
    d, legal = _difference(student.emissions, emissions)
    legal = legal & student.mask.unsqueeze(-1)
    a, legal_pairs = _difference(student.transitions.expand(batch, c, c), transitions[:, :c])
    pairs = legal_pairs.sum(1, keepdim=True).to(d.dtype)  # [B, 1, C]
    sums, squares = a.sum(1, keepdim=True), a.square().sum(1, keepdim=True)

    steps = torch.arange(length, device=d.device)
    first = (steps == 0)[None, :, None]
    last = (steps == student.lengths[:, None] - 1)[..., None]
    for here, ours, row in ((first, student.start_transitions, c), (last, student.end_transitions, c + 1)):
        extra, allowed = _difference(ours.expand(batch, c), transitions[:, row])
        d = d + here * extra[:, None]
        legal = legal & (~here | allowed[:, None])

    weight = torch.where(first, 1, pairs) * legal
    sums, squares = (torch.where(first | ~legal, 0, x) for x in (sums, squares))
    size = weight.sum(-1, keepdim=True).clamp(min=1)
    d = d - (sums + weight * d).sum(-1, keepdim=True) / size
    error = (squares + 2 * d * sums + weight * d.square()) / size
    return error.sum((1, 2)) / student.lengths


def _difference(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """ours - theirs, and where both are scores at all; 0 elsewhere."""
    legal = ours.isfinite() & theirs.isfinite()
    return torch.where(legal, ours, 0) - torch.where(legal, theirs, 0), legal
