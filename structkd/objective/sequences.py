"""Objectives on whole tag sequences: each is a target (E, N), and costs what the likelihood of gold tags costs.

References:
    Wang et al., ACL 2020, https://arxiv.org/abs/2004.03846 (equations 8 and 9).
    Wang et al., ACL 2021, https://arxiv.org/abs/2010.05010 (the exact form, `structural`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from structkd.knowledge import KnowledgeBatch, Targets, path_targets, reconcile
from structkd.objective.term import Match, Objective

_PATHS = frozenset({"paths"})


def nll() -> Objective:
    """-log p_s(gold): no knowledge at all."""
    return Objective()


def structural() -> Objective:
    """-sum_y p_t(y) log p_s(y) over all tag sequences, exactly [ACL 2021]; its gradient is E_s - E_t."""
    return Objective((Match("structural", _expectations),))


def topk() -> Objective:
    """-(1/K) sum_k log p_s(y^k) over the teacher's exact k best sequences [ACL 2020, eq. 8]."""
    return Objective((Match("topk", _uniform_paths, needs=_PATHS),))


def topk_weighted() -> Objective:
    """-sum_k w_k log p_s(y^k), w the softmax of the path scores [ACL 2020, eq. 9]: "Top-WK"."""
    return Objective((Match("topk_weighted", _weighted_paths, needs=_PATHS),))


def _expectations(knowledge: KnowledgeBatch, lengths: Tensor) -> tuple[Targets, Tensor]:
    return reconcile(Targets(knowledge.marginals, knowledge.transition_counts), lengths), knowledge.entropy


def _uniform_paths(knowledge: KnowledgeBatch, lengths: Tensor) -> tuple[Targets, Tensor]:
    valid = knowledge.scores.isfinite().to(knowledge.scores.dtype)
    return _on_paths(knowledge, valid / valid.sum(1, keepdim=True).clamp(min=1))


def _weighted_paths(knowledge: KnowledgeBatch, lengths: Tensor) -> tuple[Targets, Tensor]:
    # A row without knowledge has no path: its softmax would be NaN.
    scores = torch.where(knowledge.known.unsqueeze(1), knowledge.scores, 0)
    return _on_paths(knowledge, scores.softmax(1) * knowledge.known.unsqueeze(1))


def _on_paths(knowledge: KnowledgeBatch, weights: Tensor) -> tuple[Targets, Tensor]:
    targets = path_targets(knowledge.paths, weights, knowledge.marginals.shape[-1])
    return targets, -torch.xlogy(weights, weights).sum(1)
