"""How much a student listens to its teachers over training."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Annealing:
    """lambda, the weight of knowledge on sentences that have gold tags too: linear from `start` to `end`.

    Args:
        start: lambda at the first step; with `end` the same, it is constant.
        end: lambda once `fraction` of training is over, and from then on.
        fraction: of training, in [0, 1]; at 0 lambda is `end` from the first step.
        per: `step`: lambda changes at every optimiser step; `epoch`: at the beginning of every epoch.
    """

    start: float = 1.0
    end: float = 0.0
    fraction: float = 1.0
    per: str = "step"

    def __call__(self, progress: float, epochs: float = 1.0) -> float:
        """lambda after a part (0 to 1) of training, which has so many epochs in all."""
        if self.per == "epoch":
            # An epoch's first step may come out as 2.9999999 epochs.
            progress = math.floor(progress * epochs + 1e-6) / epochs
        if self.fraction == 0:
            return self.end
        return self.start + (self.end - self.start) * min(progress / self.fraction, 1.0)


def constant(value: float) -> Annealing:
    """The same lambda throughout; 1 learns from the teachers alone."""
    return Annealing(value, value)
