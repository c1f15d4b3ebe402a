"""The objectives by name."""

from __future__ import annotations

from collections.abc import Callable

from structkd.errors import UsageError
from structkd.objective.scores import emission_mse, substructure_mse
from structkd.objective.sequences import nll, structural, topk, topk_weighted
from structkd.objective.term import Objective, combine, weighted
from structkd.objective.words import emission, posterior, token

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "nll": nll,
    "token": token,
    "emission": emission,
    "emission_mse": emission_mse,
    "substructure_mse": substructure_mse,
    "topk": topk,
    "topk_weighted": topk_weighted,
    "posterior": posterior,
    # The paper averages the two (section 3.3); its released code sums them.
    "posterior+topk_weighted": lambda: combine(weighted(0.5, posterior()), weighted(0.5, topk_weighted())),
    "structural": structural,
}

_SOFTENED: dict[str, Callable[..., Objective]] = {"token": token, "emission": emission, "posterior": posterior}


def make_objective(name: str, *, local_temperature: float = 1.0) -> Objective:
    """The objective of a name.

    Raises:
        UsageError: unknown name, or a local temperature where finished posteriors are not what is compared.
    """
    if name not in OBJECTIVES:
        raise UsageError(f"objective {name!r} is unknown; expected one of {', '.join(OBJECTIVES)}")
    if local_temperature == 1.0:
        return OBJECTIVES[name]()
    if name not in _SOFTENED:
        raise UsageError(
            f"a local temperature softens finished posteriors, got one for objective {name}; "
            f"expected {', '.join(_SOFTENED)}, or use the global temperature"
        )
    return _SOFTENED[name](local_temperature=local_temperature)
