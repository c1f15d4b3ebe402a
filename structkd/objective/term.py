"""What objectives are made of, and how they are put together.

Two kinds of terms cover the family (METHODS section 2). A `Match` asks the student to match expected counts (E, N):
its loss is log Z - <E, emissions> - <N, transitions>, and any number of them, the gold tags included, are one loss on
the weighted sum of their targets. A `Comparison` compares distributions or scores in another way, on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.knowledge import KnowledgeBatch, Targets

Asked = tuple[Tensor, ...]
"""What a comparison takes from the teacher, made once when a batch is read."""


@dataclass(frozen=True)
class Match:
    """A weighted target to match.

    Attributes:
        target: from knowledge and lengths [B] to expected counts and the entropy [B] of the distribution that they
            belong to, in nats; zeros where nothing is known.
        needs: parts of the knowledge that must be there.
    """

    name: str
    target: Callable[[KnowledgeBatch, Tensor], tuple[Targets, Tensor]]
    needs: frozenset[str] = frozenset()
    weight: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """A weighted loss of its own.

    Attributes:
        ask: takes what it needs from the knowledge.
        distance: from the student and what was asked to a loss [B]; zero where nothing is known.
        entropy: from what was asked to the least value [B] that the loss can take; None where it is no divergence.
        needs: parts of the knowledge that must be there.
    """

    name: str
    ask: Callable[[KnowledgeBatch], Asked]
    distance: Callable[[LinearChainCRF, Asked], Tensor]
    entropy: Callable[[Asked], Tensor] | None = None
    needs: frozenset[str] = frozenset()
    weight: float = 1.0


Term = Match | Comparison


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; an empty one learns from gold tags only."""

    terms: tuple[Term, ...] = ()

    @property
    def name(self) -> str:
        """The expression that made it."""
        return "+".join(t.name if t.weight == 1 else f"{t.weight:g}*{t.name}" for t in self.terms) or "nll"

    @property
    def matches(self) -> tuple[Match, ...]:
        """The terms that are one loss together."""
        return tuple(term for term in self.terms if isinstance(term, Match))

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The terms that are losses of their own."""
        return tuple(term for term in self.terms if isinstance(term, Comparison))

    @property
    def needs(self) -> frozenset[str]:
        """Parts of a teacher's knowledge that it cannot do without: `paths`, `emissions`, `transitions`."""
        return frozenset().union(*(term.needs for term in self.terms))

    @property
    def needs_knowledge(self) -> bool:
        """Whether a teacher is needed at all."""
        return bool(self.terms)


def weighted(weight: float, objective: Objective) -> Objective:
    """An objective times a number."""
    return Objective(tuple(replace(term, weight=term.weight * weight) for term in objective.terms))


def combine(*objectives: Objective) -> Objective:
    """The sum of objectives.

    Example:
        >>> combine(weighted(0.5, posterior()), weighted(0.5, topk_weighted())).name
        '0.5*posterior+0.5*topk_weighted'
    """
    return Objective(tuple(term for objective in objectives for term in objective.terms))
