"""Calibration: known gaps are found, every token is in one bin."""

from __future__ import annotations

import numpy as np
import pytest

from structkd.errors import UsageError
from structkd.evaluation import expected_calibration_error, reliability_bins


def test_error_is_the_gap_between_confidence_and_accuracy() -> None:
    assert expected_calibration_error([0.9] * 10, [True] * 6 + [False] * 4) == pytest.approx(0.3)
    assert expected_calibration_error([0.5, 0.5, 1.0], [True, False, True]) == pytest.approx(0)


def test_gaps_of_opposite_sign_do_not_cancel_between_bins() -> None:
    assert expected_calibration_error([0.25, 0.75], [True, False]) == pytest.approx(0.75)


def test_every_token_lies_in_one_bin_edges_included() -> None:
    values = np.linspace(0, 1, 101)
    bins = reliability_bins(values, np.ones(101, dtype=bool), bins=10)
    assert sum(item.tokens for item in bins) == 101
    assert [item.tokens for item in bins] == [11] + [10] * 9
    assert all(item.low <= item.confidence <= item.high for item in bins)


def test_empty_bins_are_named_by_zero_tokens() -> None:
    bins = reliability_bins([0.95], [True], bins=4)
    assert [item.tokens for item in bins] == [0, 0, 0, 1]
    assert np.isnan(bins[0].accuracy)
    assert expected_calibration_error([], []) == 0


def test_values_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(UsageError, match="token 2"):
        reliability_bins([0.5, float("nan")], [True, True])
    with pytest.raises(UsageError, match="1 confidences for 2 tokens"):
        reliability_bins([0.5], [True, True])
