"""An invented run: tags drawn at random with a known accuracy for each method."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from structkd.evaluation import ModelCounts, ScoreRow, count, model_counts_path, save_model_counts, score_counts

# method -> (role, accuracy on seen languages, on unseen ones)
METHODS: dict[str, tuple[str, float, float]] = {
    "baseline": ("baseline", 0.895, 0.46),
    "baseline-matched": ("baseline", 0.892, 0.45),
    "pseudo-labels": ("control", 0.919, 0.485),
    "structural": ("student", 0.920, 0.495),
}
SEEN, UNSEEN = ("en", "fr", "pt", "sk"), ("it", "sv", "hr", "fi")
TAGS = ("NOUN", "VERB", "ADJ", "DET", "PUNCT")

RECIPE = """\
name: ud/pos-small
description: Four monolingual teachers, one student, <four> unseen languages
task: pos
objective: structural
controls: [baseline, pseudo-labels]
seeds: [1, 2, 3]
"""


@pytest.fixture(scope="session")
def invented() -> SimpleNamespace:
    """The functions of this file: `models(methods)`, `rows(models)`, `write_run(folder, models)`."""
    return SimpleNamespace(models=models, rows=rows, write_run=write_run, METHODS=METHODS, RECIPE=RECIPE)


def models(
    methods: Mapping[str, tuple[str, float, float]] = METHODS, *, seeds: Sequence[int] = (1, 2, 3), sentences: int = 200
) -> list[ModelCounts]:
    """Counts of every model of the invented run."""
    made = [
        _model(f"teachers/ud/{own}", "teacher", "teacher", 1, {own: 0.925} | dict.fromkeys(UNSEEN, 0.38), sentences)
        for own in SEEN
    ]
    for method, (role, seen, unseen) in methods.items():
        accuracies = dict.fromkeys(SEEN, seen) | dict.fromkeys(UNSEEN, unseen)
        made += [_model(f"models/{method}/seed-{s}", role, method, s, accuracies, sentences) for s in seeds]
    return made


def rows(made: Sequence[ModelCounts]) -> list[ScoreRow]:
    """The score rows of these models."""
    return [
        row
        for record in made
        for language, counts in record.counts.items()
        for row in score_counts(
            counts,
            model=record.model,
            role=record.role,
            method=record.method,
            seed=record.seed,
            language=language,
            corpus=record.corpora[language],
            split="test",
            seen=language in SEEN,
            resamples=200,
        )
    ]


def write_run(directory: Path, made: Sequence[ModelCounts], *, recipe: str = RECIPE) -> Path:
    """A whole run directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "recipe.yaml").write_text(recipe, encoding="utf-8")
    environment = {"structkd": "0.1.0", "python": "3.11.9", "packages": {"torch": "2.13.0", "numpy": "2.3.1"}}
    (directory / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    scores = [row.to_dict() for row in rows(made)]
    (directory / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    for record in made:
        save_model_counts(model_counts_path(directory, record.model), record)
        if record.model.startswith("models/"):
            (directory / record.model).mkdir(parents=True)
            history = _history(record.model)
            (directory / record.model / "history.json").write_text(json.dumps(history), encoding="utf-8")
    return directory


def _model(
    model: str, role: str, method: str, seed: int, accuracies: Mapping[str, float], sentences: int
) -> ModelCounts:
    counts = {}
    for language, accuracy in accuracies.items():
        text = np.random.default_rng(zlib.crc32(language.encode()))  # the same sentences for every model
        luck = np.random.default_rng(zlib.crc32(f"{model} {language}".encode()))
        gold = [[TAGS[t] for t in text.integers(len(TAGS), size=text.integers(4, 24))] for _ in range(sentences)]
        difficulty = text.random(sum(map(len, gold)))  # models share most of their errors, as real ones do
        own = np.clip(difficulty + luck.normal(0, 0.04, len(difficulty)), 0, 1) < accuracy - 0.02 * (
            zlib.crc32(language.encode()) % 4
        )
        right = iter(own)
        predicted = [[t if next(right) else TAGS[(TAGS.index(t) + 1) % 5] for t in tags] for tags in gold]
        words = [[f"w{text.integers(60)}" for _ in tags] for tags in gold]
        known = {f"w{n}" for n in range(40)}
        counts[language] = count(gold, predicted, task="pos", words=words, training_words=known)
    corpora = {language: f"UD {language.upper()}-Invented" for language in accuracies}
    return ModelCounts(model, role, method, seed, counts, corpora)


def _history(model: str) -> list[dict[str, float | int | None]]:
    luck = np.random.default_rng(zlib.crc32(model.encode()))
    start, end = (12.0, 2.0) if "structural" in model else (9.0, 0.4)
    return [
        {
            "step": step,
            "epoch": step / 400,
            "loss": float(end + (start - end) * np.exp(-step / 350) + luck.normal(0, 0.12)),
            "learning_rate": 0.008 * (1 - step / 2000),
            "dev": float(92 - 40 * np.exp(-step / 300) + luck.normal(0, 0.2)) if step % 400 == 0 else None,
        }
        for step in range(50, 2001, 50)
    ]
