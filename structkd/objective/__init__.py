"""Distillation objectives, ways to combine them, and the schedule of their weight."""

from structkd.objective.catalogue import OBJECTIVES, make_objective
from structkd.objective.conflict import conflict
from structkd.objective.schedules import Annealing, constant
from structkd.objective.scores import emission_mse, substructure_mse
from structkd.objective.sequences import nll, structural, topk, topk_weighted
from structkd.objective.term import Comparison, Match, Objective, Term, combine, weighted
from structkd.objective.total import Lesson, divergence, loss, prepare
from structkd.objective.words import emission, posterior, token

__all__ = [
    "OBJECTIVES",
    "Annealing",
    "Comparison",
    "Lesson",
    "Match",
    "Objective",
    "Term",
    "combine",
    "conflict",
    "constant",
    "divergence",
    "emission",
    "emission_mse",
    "loss",
    "make_objective",
    "nll",
    "posterior",
    "prepare",
    "structural",
    "substructure_mse",
    "token",
    "topk",
    "topk_weighted",
    "weighted",
]
