"""How far confidence can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from structkd.errors import UsageError

Numbers = Sequence[float] | NDArray[np.floating]
Truths = Sequence[bool] | NDArray[np.bool_]


@dataclass(frozen=True)
class ReliabilityBin:
    """Tokens whose confidence lies in (low, high]; the first bin holds 0 too.

    Attributes:
        low: lower edge, in [0, 1].
        high: upper edge.
        tokens: how many there are.
        confidence: their mean confidence; nan where there are none.
        accuracy: the share of them that is right; nan where there are none.
    """

    low: float
    high: float
    tokens: int
    confidence: float
    accuracy: float


def reliability_bins(confidences: Numbers, correct: Truths, *, bins: int = 10) -> list[ReliabilityBin]:
    """Tokens grouped into bins of equal width by confidence.

    Args:
        confidences: [tokens] probability of the predicted tag, in [0, 1].
        correct: [tokens] whether the tag was right.
        bins: how many.

    Returns:
        All bins, empty ones too, from low to high.

    Raises:
        UsageError: lengths differ, or a confidence is no probability.
    """
    values = np.asarray(confidences, dtype=np.float64).reshape(-1)
    right = np.asarray(correct, dtype=bool).reshape(-1)
    if len(values) != len(right):
        raise UsageError(f"{len(values)} confidences for {len(right)} tokens: pass one per token")
    wrong = ~((values >= 0) & (values <= 1 + 1e-6))  # nan fails both; float32 softmax may end just above 1
    if wrong.any():
        raise UsageError(f"confidence {values[wrong][0]} of token {int(np.argmax(wrong)) + 1} is not in [0, 1]")
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, bins - 1)
    tokens = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(index, weights=values, minlength=bins) / tokens
        accuracy = np.bincount(index, weights=right, minlength=bins) / tokens
    return [
        ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(tokens[i]), float(confidence[i]), float(accuracy[i]))
        for i in range(bins)
    ]


def expected_calibration_error(confidences: Numbers, correct: Truths, *, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by tokens.

    Args:
        confidences: [tokens] probability of the predicted tag, in [0, 1].
        correct: [tokens] whether the tag was right.
        bins: how many.

    Returns:
        The error in [0, 1]; 0 without tokens.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599
    """
    filled = [item for item in reliability_bins(confidences, correct, bins=bins) if item.tokens]
    total = sum(item.tokens for item in filled)
    return sum(item.tokens * abs(item.confidence - item.accuracy) for item in filled) / total if total else 0.0
