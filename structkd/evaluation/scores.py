"""Scores with confidence intervals, one flat row per number: the rows of scores.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from structkd.errors import IntegrityError
from structkd.evaluation.bootstrap import RESAMPLES, interval, percentage, resampled_sums
from structkd.evaluation.counts import Counts, IntArray


@dataclass(frozen=True)
class ScoreRow:
    """One number: a metric of one model on one language, over one label and one subset of the words.

    Attributes:
        model: folder of the model inside the run: `teachers/<card>` or `models/<method>/seed-<n>`.
        role: teacher, ensemble, baseline, control or student.
        method: what trained the model.
        seed: None where the model has none, such as a mixture of teachers.
        task: pos or ner.
        language: BCP-47.
        corpus: title of the corpus.
        split: train, dev or test.
        seen: whether any teacher was trained on the language.
        label: a tag or an entity type, or `all`.
        subset: `all`, `known-words` or `unknown-words`.
        metric: accuracy, f1, precision or recall.
        value: percent.
        low: lower end of the 95% bootstrap interval over sentences, percent.
        high: upper end, percent.
        sentences: how many sentences the number rests on.
    """

    model: str
    role: str
    method: str
    seed: int | None
    task: str
    language: str
    corpus: str
    split: str
    seen: bool
    label: str
    subset: str
    metric: str
    value: float
    low: float
    high: float
    sentences: int

    def to_dict(self) -> dict[str, Any]:
        """The row as scores.json has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ScoreRow:
        """A row of scores.json.

        Raises:
            IntegrityError: fields are missing or unknown.
        """
        names = {item.name for item in fields(cls)}
        if set(value) != names:
            raise IntegrityError(
                f"a row of scores.json lacks {sorted(names - set(value))} and has unknown {sorted(set(value) - names)}:"
                " evaluate the run again"
            )
        return cls(**value)


def score_counts(
    counts: Counts,
    *,
    model: str,
    role: str,
    method: str,
    seed: int | None,
    language: str,
    corpus: str,
    split: str,
    seen: bool,
    resamples: int = RESAMPLES,
    bootstrap_seed: int = 0,
) -> list[ScoreRow]:
    """All rows that counts can give.

    `pos`: accuracy overall and in each subset, F1 of each tag. `ner`: F1, precision and recall, overall and of each
    entity type. Intervals are percentile bootstraps over sentences.

    Args:
        counts: of one model on one test set.
        model, role, method, seed, language, corpus, split, seen: facts copied into the rows, see `ScoreRow`.
        resamples: draws of the bootstrap.
        bootstrap_seed: seed of these draws.

    Returns:
        The rows; the one for the whole test set and the main metric comes first.
    """
    wanted: list[tuple[str, str, str, IntArray]] = []  # label, subset, metric, [sentences, 3]
    metrics = ("accuracy",) if counts.task == "pos" else ("f1", "precision", "recall")
    wanted += [("all", "all", metric, counts.overall) for metric in metrics]
    wanted += [("all", subset, metric, array) for subset, array in counts.subsets.items() for metric in metrics]
    label_metrics = ("f1",) if counts.task == "pos" else metrics
    for i, label in enumerate(counts.labels):
        wanted += [(label, "all", metric, counts.by_label[:, i]) for metric in label_metrics]
    stacked = np.stack([array for *_, array in wanted], axis=1)
    totals = stacked.sum(axis=0)
    draws = resampled_sums(stacked, resamples=resamples, seed=bootstrap_seed)
    rows = []
    for i, (label, subset, metric, _) in enumerate(wanted):
        low, high = interval(percentage(metric, draws[:, i]))
        value = float(percentage(metric, totals[i]))
        rows.append(
            ScoreRow(
                model=model,
                role=role,
                method=method,
                seed=seed,
                task=counts.task,
                language=language,
                corpus=corpus,
                split=split,
                seen=seen,
                label=label,
                subset=subset,
                metric=metric,
                value=value,
                low=low,
                high=high,
                sentences=counts.sentences,
            )
        )
    return rows
