"""The objective that a recipe writes."""

from __future__ import annotations

from structkd.objective import Objective, combine, make_objective, weighted
from structkd.recipe import parse_objective


def objective_of(text: str, *, local_temperature: float = 1.0) -> Objective:
    """The objective that a recipe writes as a name or as a sum of weighted names."""
    return combine(
        *(
            weighted(term.weight, make_objective(term.name, local_temperature=local_temperature))
            for term in parse_objective(text)
        )
    )
