"""Scores of taggings, with confidence intervals, paired tests and calibration; nothing here knows a network."""

from structkd.evaluation.bootstrap import percentage
from structkd.evaluation.calibration import ReliabilityBin, expected_calibration_error, reliability_bins
from structkd.evaluation.counts import Counts, count, counts_from_json, counts_to_json, strict_spans
from structkd.evaluation.model_counts import ModelCounts, load_model_counts, model_counts_path, save_model_counts
from structkd.evaluation.scores import ScoreRow, score_counts
from structkd.evaluation.significance import Difference, Resampled, difference, macro_draws, paired_test, resample

__all__ = [
    "Counts",
    "Difference",
    "ModelCounts",
    "ReliabilityBin",
    "Resampled",
    "ScoreRow",
    "count",
    "counts_from_json",
    "counts_to_json",
    "difference",
    "expected_calibration_error",
    "load_model_counts",
    "macro_draws",
    "model_counts_path",
    "paired_test",
    "percentage",
    "reliability_bins",
    "resample",
    "save_model_counts",
    "score_counts",
    "strict_spans",
]
