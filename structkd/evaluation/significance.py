"""Paired tests between systems: is a difference more than the choice of sentences and seeds?"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from structkd.errors import UsageError
from structkd.evaluation.bootstrap import RESAMPLES, FloatArray, interval, percentage, resampled_sums
from structkd.evaluation.counts import GOLD, Counts, IntArray

System = Counts | Sequence[Counts] | Mapping[str, Counts | Sequence[Counts]]


@dataclass(frozen=True)
class Difference:
    """A minus b, in points of percent.

    Attributes:
        value: difference of the two scores.
        low: lower end of the 95% interval.
        high: upper end.
        p_value: two-sided; at least 2 / (resamples + 1).
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval excludes zero and p is below 0.05."""
        return (self.low > 0 or self.high < 0) and self.p_value < 0.05


@dataclass(frozen=True)
class Resampled:
    """Scores of one system on resampled test sets.

    Attributes:
        scores: language -> [seeds], percent.
        draws: language -> [resamples, seeds], percent.
        gold: language -> [sentences] gold items, by which two systems are known to share their sentences.
    """

    scores: Mapping[str, FloatArray]
    draws: Mapping[str, FloatArray]
    gold: Mapping[str, IntArray]


def resample(system: System, *, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """Score one system on resampled test sets, once, for any number of comparisons.

    Args:
        system: counts; or one per seed; or either of them by language.
        resamples: draws of the bootstrap.
        seed: of the draws; systems that are compared need the same one.

    Returns:
        Scores and draws by language; a system without languages is under "".
    """
    scores, draws, gold = {}, {}, {}
    for language, by_seed in _by_language(system).items():
        metric, first = by_seed[0].metric, by_seed[0].overall[:, GOLD]
        if any(not np.array_equal(first, other.overall[:, GOLD]) for other in by_seed):
            raise UsageError(f"seeds were scored on different sentences of {language or 'the test set'}")
        stacked = np.stack([counts.overall for counts in by_seed], axis=1)
        scores[language] = percentage(metric, stacked.sum(axis=0))
        own_seed = [seed, zlib.crc32(language.encode())]  # languages are drawn independently of each other
        draws[language] = percentage(metric, resampled_sums(stacked, resamples=resamples, seed=own_seed))
        gold[language] = first
    return Resampled(scores, draws, gold)


def macro_draws(system: Resampled, languages: Sequence[str], *, seed: int = 0) -> FloatArray:
    """Resampled macro averages: sentences inside each language, then training seeds, with replacement.

    Args:
        system: from `resample`.
        languages: averaged with equal weight.
        seed: of the draw of training seeds.

    Returns:
        [resamples] percent.
    """
    by_seed = np.stack([system.draws[language] for language in languages]).mean(axis=0)
    resamples, seeds = by_seed.shape
    chosen = np.random.default_rng(seed).integers(seeds, size=(resamples, seeds))
    return np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1)


def difference(a: Resampled, b: Resampled, languages: Sequence[str] | None = None, *, seed: int = 0) -> Difference:
    """Macro average of a minus macro average of b.

    Each resample draws sentences (the same for a and b) and training seeds (one draw for all languages, since a
    seed is one model; a's and b's own, since their seeds are no pairs). So the interval holds both kinds of luck.

    Args:
        a: from `resample`.
        b: from `resample` with the same seed and number of resamples.
        languages: averaged with equal weight; all of a's where none are named.
        seed: of the draws of training seeds.

    Returns:
        The difference of the means over seeds and languages, with its percentile interval and p-value.

    Raises:
        UsageError: a and b were not scored on the same sentences, or one lacks a language.
    """
    names = list(languages) if languages is not None else list(a.scores)
    if not names:
        raise UsageError("a difference needs at least one language")
    for name in names:
        if name not in a.gold or name not in b.gold or not np.array_equal(a.gold[name], b.gold[name]):
            raise UsageError(f"the two systems were not scored on the same sentences of {name or 'the test set'}")
    value = float(np.mean([a.scores[n].mean() for n in names]) - np.mean([b.scores[n].mean() for n in names]))
    draws = macro_draws(a, names, seed=2 * seed) - macro_draws(b, names, seed=2 * seed + 1)
    draws = np.round(draws, 9)  # equal scores may differ in the last bits, and a tie has no sign
    low, high = interval(draws)
    tail = min(np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0))
    return Difference(value, low, high, min(1.0, 2 * (int(tail) + 1) / (len(draws) + 1)))


def paired_test(
    a: System, b: System, languages: Sequence[str] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Paired bootstrap between two systems on the same sentences.

    Args:
        a: counts; or one per seed; or either of them by language.
        b: the same; the numbers of seeds may differ.
        languages: averaged with equal weight; all of a's where none are named.
        resamples: draws of the bootstrap.
        seed: of all draws.

    Returns:
        a - b in points of percent.

    Raises:
        UsageError: a and b were not scored on the same sentences.
    """
    drawn = [resample(system, resamples=resamples, seed=seed) for system in (a, b)]
    return difference(drawn[0], drawn[1], languages, seed=seed)


def _by_language(system: System) -> dict[str, list[Counts]]:
    by_language = system if isinstance(system, Mapping) else {"": system}
    listed = {name: [value] if isinstance(value, Counts) else list(value) for name, value in by_language.items()}
    empty = [name for name, value in listed.items() if not value]
    if empty:
        raise UsageError(f"a system has no counts for {', '.join(name or 'the test set' for name in empty)}")
    return listed
