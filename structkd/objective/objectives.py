"""Distillation objectives as small functions that compose.

Two kinds cover the family (METHODS section 2). An objective with a `target` asks the student to match expected
counts (E, N): its loss is log Z - <E, emissions> - <N, transitions>, and any number of such objectives, the gold tags
included, are one loss on the weighted sum of their targets. An objective with a `divergence` compares
distributions in another way and is computed on its own.

Example:
    >>> objective = combine(weighted(0.5, posterior()), weighted(0.5, topk_weighted()))
    >>> objective.name
    '0.5*posterior+0.5*topk_weighted'

References:
    Wang et al., ACL 2020, https://arxiv.org/abs/2004.03846 (equations 8, 9, 13).
    Wang et al., ACL 2021, https://arxiv.org/abs/2010.05010 (the exact form, `structural`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.errors import UsageError
from structkd.knowledge import KnowledgeBatch, Targets, path_targets, reconcile

Target = Callable[[KnowledgeBatch, Tensor], Targets]
"""Expected counts to match, from knowledge and lengths [B]; zeros where nothing is known."""

Divergence = Callable[[LinearChainCRF, KnowledgeBatch], Tensor]
"""A loss [B] in nats, zero where nothing is known."""


@dataclass(frozen=True)
class Term:
    """One weighted part of an objective: exactly one of `target` and `divergence`."""

    name: str
    weight: float = 1.0
    target: Target | None = None
    divergence: Divergence | None = None
    needs_paths: bool = False


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; an empty one learns from gold tags only."""

    terms: tuple[Term, ...] = ()

    @property
    def name(self) -> str:
        """The expression that made it."""
        return "+".join(t.name if t.weight == 1 else f"{t.weight:g}*{t.name}" for t in self.terms) or "nll"

    @property
    def needs_knowledge(self) -> bool:
        """Whether a teacher is needed at all."""
        return bool(self.terms)

    @property
    def needs_paths(self) -> bool:
        """Whether k-best lists are needed."""
        return any(term.needs_paths for term in self.terms)


def nll() -> Objective:
    """-log p_s(gold): no knowledge at all."""
    return Objective()


def structural() -> Objective:
    """-sum_y p_t(y) log p_s(y) over all tag sequences, exactly [ACL 2021]; its gradient is E_s - E_t."""
    return Objective((Term("structural", target=_expectations),))


def topk() -> Objective:
    """-(1/K) sum_k log p_s(y^k) over the teacher's exact k best sequences [ACL 2020, eq. 8]."""
    return Objective((Term("topk", target=_uniform_paths, needs_paths=True),))


def topk_weighted() -> Objective:
    """-sum_k w_k log p_s(y^k), w the softmax of the path scores [ACL 2020, eq. 9]: "Top-WK"."""
    return Objective((Term("topk_weighted", target=_weighted_paths, needs_paths=True),))


def posterior(*, local_temperature: float = 1.0) -> Objective:
    """-sum_i sum_c q_t(c at i) log q_s(c at i), through the student's forward-backward [ACL 2020, eq. 13].

    Args:
        local_temperature: T; the teacher's finished posteriors become softmax(log q_t / T).
    """
    divergence = partial(_posterior_cross_entropy, local_temperature=local_temperature)
    return Objective((Term("posterior", divergence=divergence),))


def weighted(weight: float, objective: Objective) -> Objective:
    """An objective times a number."""
    return Objective(tuple(replace(term, weight=term.weight * weight) for term in objective.terms))


def combine(*objectives: Objective) -> Objective:
    """The sum of objectives."""
    return Objective(tuple(term for objective in objectives for term in objective.terms))


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "nll": nll,
    "structural": structural,
    "topk": topk,
    "topk_weighted": topk_weighted,
    "posterior": posterior,
    # The paper averages the two (section 3.3); its released code sums them.
    "posterior+topk_weighted": lambda: combine(weighted(0.5, posterior()), weighted(0.5, topk_weighted())),
}


def make_objective(name: str, *, local_temperature: float = 1.0) -> Objective:
    """The objective that a recipe names.

    Raises:
        UsageError: unknown name, or a local temperature where finished posteriors are not what is compared.
    """
    if name not in OBJECTIVES:
        raise UsageError(f"objective {name!r} is unknown; expected one of {', '.join(OBJECTIVES)}")
    if local_temperature == 1.0:
        return OBJECTIVES[name]()
    if name != "posterior":
        raise UsageError(f"a local temperature softens finished posteriors; objective {name} does not compare them")
    return posterior(local_temperature=local_temperature)


def loss(
    student: LinearChainCRF,
    gold: Targets,
    knowledge: KnowledgeBatch | None,
    objective: Objective,
    gold_weight: Tensor,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """The training loss [B] of each sentence, in nats: w * NLL + (1 - w) * objective.

    Args:
        student: distributions of B sentences.
        gold: counts of the gold tags; zeros where there are none.
        knowledge: what the teacher knows, extracted at `temperature`; None without a teacher.
        gold_weight: [B] w of each sentence; 0 where there are no gold tags, 1 where there is no knowledge.
        temperature: global T; the objective sees the student's potentials divided by T and is multiplied by T^2.

    References:
        METHODS section 2, "One loss": gold and knowledge are mixed as targets, so that a step costs one
        forward-backward whatever the objective; only `posterior` needs the derivative through the marginals.
    """
    if knowledge is None or not objective.terms:
        return _match(student, gold.weighted(gold_weight), gold_weight)
    share = (1 - gold_weight) * knowledge.known
    gold_part = gold.weighted(gold_weight)
    matched = [term for term in objective.terms if term.target is not None]
    wanted = [term.target(knowledge, student.lengths).weighted(share * term.weight) for term in matched if term.target]
    mass = share * sum(term.weight for term in matched)
    softened = student if temperature == 1.0 else student.tempered(temperature)
    scale = temperature**2
    if temperature == 1.0:
        for targets in wanted:
            gold_part = gold_part.plus(targets)
        total = _match(student, gold_part, gold_weight + mass)
    else:
        total = _match(student, gold_part, gold_weight)
        for term, targets in zip(matched, wanted, strict=True):
            total = total + scale * _match(softened, targets, share * term.weight)
    for term in objective.terms:
        if term.divergence is not None:
            total = total + scale * share * term.weight * term.divergence(softened, knowledge)
    return total


def _match(student: LinearChainCRF, targets: Targets, mass: Tensor) -> Tensor:
    """mass * log Z - <E, emissions> - <N, transitions>: with mass 1, the cross-entropy to the targets' source."""
    return mass * student.log_partition - student.expected_score(targets.marginals, targets.transition_counts)


def _expectations(knowledge: KnowledgeBatch, lengths: Tensor) -> Targets:
    return reconcile(Targets(knowledge.marginals, knowledge.transition_counts), lengths)


def _uniform_paths(knowledge: KnowledgeBatch, lengths: Tensor) -> Targets:
    valid = knowledge.scores.isfinite().to(knowledge.scores.dtype)
    weights = valid / valid.sum(1, keepdim=True).clamp(min=1)
    return path_targets(knowledge.paths, weights, knowledge.marginals.shape[-1])


def _weighted_paths(knowledge: KnowledgeBatch, lengths: Tensor) -> Targets:
    # A row without knowledge has no path: its softmax would be NaN.
    scores = torch.where(knowledge.known.unsqueeze(1), knowledge.scores, 0)
    weights = scores.softmax(1) * knowledge.known.unsqueeze(1)
    return path_targets(knowledge.paths, weights, knowledge.marginals.shape[-1])


def _posterior_cross_entropy(student: LinearChainCRF, knowledge: KnowledgeBatch, *, local_temperature: float) -> Tensor:
    softened = knowledge.marginals if local_temperature == 1.0 else knowledge.marginals ** (1 / local_temperature)
    total = softened.sum(-1, keepdim=True)
    wanted = softened / torch.where(total > 0, total, 1)
    # The floor keeps float32 finite; what the teacher gives no mass to is left out, 0 * log 0 = 0.
    log_marginals = student.marginals.clamp_min(1e-30).log()
    return -torch.where(wanted > 0, wanted * log_marginals, 0).sum((1, 2))
