"""Distillation objectives, ways to combine them, and the schedule of their weight."""

from structkd.objective.objectives import (
    OBJECTIVES,
    Objective,
    Term,
    combine,
    loss,
    make_objective,
    nll,
    posterior,
    structural,
    topk,
    topk_weighted,
    weighted,
)
from structkd.objective.schedules import Annealing

__all__ = [
    "OBJECTIVES",
    "Annealing",
    "Objective",
    "Term",
    "combine",
    "loss",
    "make_objective",
    "nll",
    "posterior",
    "structural",
    "topk",
    "topk_weighted",
    "weighted",
]
