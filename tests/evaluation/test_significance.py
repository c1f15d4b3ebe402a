"""Paired tests: find what is there, stay quiet where nothing is, and know which sentences they compare."""

from __future__ import annotations

import numpy as np
import pytest

from structkd.errors import UsageError
from structkd.evaluation import Counts, count, difference, paired_test, resample


def _system(accuracy: float, *, seed: int, sentences: int = 300, length: int = 10) -> Counts:
    rng = np.random.default_rng(seed)
    gold = [["A"] * length for _ in range(sentences)]
    return count(gold, [["A" if rng.random() < accuracy else "B" for _ in tags] for tags in gold], task="pos")


def test_a_system_does_not_differ_from_itself() -> None:
    counts = _system(0.8, seed=1)
    result = paired_test(counts, counts)
    assert (result.value, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert not result.is_distinguishable


def test_a_clear_gain_is_found_and_its_sign_follows_the_order() -> None:
    better, worse = _system(0.9, seed=1), _system(0.8, seed=2)
    forth, back = paired_test(better, worse), paired_test(worse, better)
    assert forth.low > 0
    assert forth.low < forth.value < forth.high
    assert forth.p_value == pytest.approx(2 / 1001)
    assert forth.is_distinguishable
    assert back.value == pytest.approx(-forth.value)
    assert back.high < 0


def test_equal_systems_are_rarely_told_apart() -> None:
    told_apart = [
        paired_test(_system(0.8, seed=2 * i), _system(0.8, seed=2 * i + 1), resamples=300).is_distinguishable
        for i in range(40)
    ]
    assert sum(told_apart) <= 6  # 5% of 40 is 2; more than 6 has probability 0.003


def test_pairing_uses_the_same_sentences_for_both() -> None:
    # b repeats a's errors and adds one in each tenth sentence: unpaired, the shared errors would hide it.
    a = _system(0.7, seed=1)
    worse = a.overall.copy()
    worse[::10, 0] -= np.minimum(worse[::10, 0], 1)
    b = Counts("pos", worse, a.labels, a.by_label)
    assert paired_test(a, b).low > 0


def test_the_value_is_the_difference_of_means_over_seeds() -> None:
    a, b = [_system(0.9, seed=s) for s in (1, 2, 3)], [_system(0.8, seed=s) for s in (4, 5)]
    means = [np.mean([100 * c.overall[:, 0].sum() / c.overall[:, 2].sum() for c in side]) for side in (a, b)]
    assert paired_test(a, b).value == pytest.approx(means[0] - means[1])


def test_disagreeing_seeds_widen_the_interval() -> None:
    base = [_system(0.8, seed=s) for s in range(3)]
    steady = paired_test([_system(0.85, seed=s) for s in (4, 5, 6)], base)
    shaky = paired_test([_system(p, seed=s) for p, s in ((0.75, 4), (0.85, 5), (0.95, 6))], base)
    assert shaky.high - shaky.low > 2 * (steady.high - steady.low)


def test_languages_weigh_the_same_whatever_their_size() -> None:
    a = {"en": _system(1.0, seed=1, sentences=50), "fi": _system(0.0, seed=2, sentences=500)}
    b = {"en": _system(0.0, seed=3, sentences=50), "fi": _system(0.0, seed=4, sentences=500)}
    assert paired_test(a, b).value == 50
    assert paired_test(a, b, ["en"]).value == 100
    assert paired_test(a, b, ["fi"]).value == 0


def test_macro_interval_is_the_one_of_independent_languages() -> None:
    a = {str(i): _system(0.9, seed=i) for i in range(4)}
    b = {str(i): _system(0.8, seed=10 + i) for i in range(4)}
    one, four = paired_test(a, b, ["0"]), paired_test(a, b)
    assert (four.high - four.low) == pytest.approx((one.high - one.low) / 2, rel=0.25)  # a fourth of the variance


def test_one_resampling_serves_many_comparisons() -> None:
    a, b = {"en": _system(0.9, seed=1)}, {"en": [_system(0.8, seed=2), _system(0.8, seed=3)]}
    assert difference(resample(a), resample(b)) == paired_test(a, b)


def test_other_sentences_and_missing_languages_are_refused() -> None:
    a = _system(0.9, seed=1)
    with pytest.raises(UsageError, match="same sentences"):
        paired_test(a, _system(0.9, seed=1, length=9))
    with pytest.raises(UsageError, match="same sentences of sv"):
        paired_test({"sv": a}, {"en": a})
    with pytest.raises(UsageError, match="different sentences of en"):
        resample({"en": [a, _system(0.9, seed=1, sentences=299)]})
    with pytest.raises(UsageError, match="no counts for en"):
        resample({"en": []})
