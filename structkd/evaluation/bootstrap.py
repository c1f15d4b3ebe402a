"""Resampling of sentences, from counts alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from structkd.evaluation.counts import GOLD, HITS, PREDICTED

FloatArray = NDArray[np.float64]

RESAMPLES = 1000
_DRAWS_AT_ONCE = 4_000_000


def percentage(metric: str, counts: NDArray[np.generic]) -> FloatArray:
    """A metric in percent from summed counts.

    Args:
        metric: `accuracy`, `f1`, `precision` or `recall`.
        counts: [..., 3] hits, predicted, gold.

    Returns:
        [...]; 0 where there is nothing to divide by, as seqeval has it.
    """
    sums = np.asarray(counts, dtype=np.float64)
    hits, predicted, gold = sums[..., HITS], sums[..., PREDICTED], sums[..., GOLD]
    numerator, denominator = {
        "accuracy": (hits, gold),
        "recall": (hits, gold),
        "precision": (hits, predicted),
        "f1": (2 * hits, predicted + gold),
    }[metric]
    return np.divide(100 * numerator, denominator, out=np.zeros_like(hits), where=denominator > 0)


def resampled_sums(counts: NDArray[np.generic], *, resamples: int = RESAMPLES, seed: int | list[int] = 0) -> FloatArray:
    """Sums of counts over sentences drawn with replacement.

    The draws depend on the number of sentences and the seed only: two systems on the same sentences meet the same
    resamples, which is what pairs them.

    Args:
        counts: [sentences, ...].
        resamples: how many times the test set is drawn again.
        seed: of the draws.

    Returns:
        [resamples, ...] sums.
    """
    sentences = len(counts)
    flat = np.asarray(counts, dtype=np.float64).reshape(sentences, -1)
    sums = np.zeros((resamples, flat.shape[1]))
    if sentences:
        rng = np.random.default_rng(seed)
        step = max(1, _DRAWS_AT_ONCE // sentences)
        for first in range(0, resamples, step):
            rows = min(step, resamples - first)
            drawn = rng.integers(sentences, size=(rows, sentences)) + np.arange(rows)[:, None] * sentences
            weights = np.bincount(drawn.ravel(), minlength=rows * sentences).reshape(rows, sentences)
            sums[first : first + rows] = weights.astype(np.float64) @ flat
    return sums.reshape(resamples, *counts.shape[1:])


def interval(draws: FloatArray) -> tuple[float, float]:
    """The central 95% of resampled values: 2.5th and 97.5th percentile."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)
