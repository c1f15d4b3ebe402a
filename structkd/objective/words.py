"""Objectives on the tag distributions of single words.

Local temperature softens the teacher's finished posteriors, softmax(log q / T), before they are compared. It belongs
to these objectives only: softened posteriors and unsoftened transition counts are of no one distribution.

References:
    Wang et al., ACL 2020, https://arxiv.org/abs/2004.03846 (equations 4, 5 and 13). The text has no temperature; the
    released configurations use a local one.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.knowledge import KnowledgeBatch
from structkd.objective.term import Asked, Comparison, Objective


def token(*, local_temperature: float = 1.0) -> Objective:
    """-sum_i sum_c q_t(c at i) log p_s(c at i), p_s the student's tag posteriors [ACL 2020, eq. 4].

    The teacher may have either head. It is meant for students with a softmax head, whose posteriors are the softmax of
    the emissions; for a chain with transitions it is the same as `posterior`.

    Args:
        local_temperature: T; the teacher's finished posteriors become softmax(log q_t / T).
    """
    ask = partial(_posteriors, local_temperature=local_temperature)
    return Objective((Comparison("token", ask, _from_either, _token_entropy),))


def emission(*, local_temperature: float = 1.0) -> Objective:
    """The cross-entropy between the softmax of both emissions; transitions are ignored [ACL 2020, eq. 5]."""
    ask = partial(_emission_posteriors, local_temperature=local_temperature)
    return Objective((Comparison("emission", ask, _from_emissions, _token_entropy, frozenset({"emissions"})),))


def posterior(*, local_temperature: float = 1.0) -> Objective:
    """-sum_i sum_c q_t(c at i) log q_s(c at i), through the student's forward-backward [ACL 2020, eq. 13]."""
    ask = partial(_posteriors, local_temperature=local_temperature)
    return Objective((Comparison("posterior", ask, _from_marginals, _token_entropy),))


def _posteriors(knowledge: KnowledgeBatch, *, local_temperature: float) -> Asked:
    return (_softened(knowledge.marginals, local_temperature),)


def _emission_posteriors(knowledge: KnowledgeBatch, *, local_temperature: float) -> Asked:
    assert knowledge.emissions is not None
    return (_softened(knowledge.emissions.exp(), local_temperature),)


def _softened(posteriors: Tensor, temperature: float) -> Tensor:
    """softmax(log q / T), and 0 where all of q is 0: on padding, and where nothing is known."""
    powers = posteriors if temperature == 1.0 else posteriors ** (1 / temperature)
    total = powers.sum(-1, keepdim=True)
    return powers / torch.where(total > 0, total, 1)


def _from_emissions(student: LinearChainCRF, asked: Asked) -> Tensor:
    # What lies beyond a length may be anything, and log_softmax would carry it into the gradient.
    inside = torch.where(student.mask.unsqueeze(-1), student.emissions, 0)
    # What the teacher gives no mass to is left out, also where the student forbids it.
    return -torch.where(asked[0] > 0, asked[0] * inside.log_softmax(-1), 0).sum((1, 2))


def _from_either(student: LinearChainCRF, asked: Asked) -> Tensor:
    chain = (student.transitions, student.start_transitions, student.end_transitions)
    return (_from_marginals if any(bool(part.any()) for part in chain) else _from_emissions)(student, asked)


def _from_marginals(student: LinearChainCRF, asked: Asked) -> Tensor:
    # The floor keeps float32 finite; 0 * log 0 = 0.
    return -torch.xlogy(asked[0], student.marginals.clamp_min(1e-30)).sum((1, 2))


def _token_entropy(asked: Asked) -> Tensor:
    return -torch.xlogy(asked[0], asked[0]).sum((1, 2))
