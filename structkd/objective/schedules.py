"""How much a student listens to its teachers over training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Annealing:
    """lambda, the weight of knowledge on sentences that have gold tags too: linear from `start` to `end`.

    Args:
        start: lambda at the first step.
        end: lambda once `fraction` of training is over, and from then on.
        fraction: of all steps, in (0, 1].
    """

    start: float = 1.0
    end: float = 0.0
    fraction: float = 1.0

    def __call__(self, progress: float) -> float:
        """lambda after a part (0 to 1) of training."""
        return self.start + (self.end - self.start) * min(progress / self.fraction, 1.0)
