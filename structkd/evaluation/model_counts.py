"""The file of one evaluated model: its counts on every test set, from which intervals and tests are made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from structkd.errors import IntegrityError
from structkd.evaluation.counts import Counts, counts_from_json, counts_to_json
from structkd.storage import read_json, write_atomic


@dataclass(frozen=True)
class ModelCounts:
    """Counts of one model on every test set.

    Attributes:
        model: `teachers/<card>` or `models/<method>/seed-<n>`.
        role: teacher, ensemble, baseline, control or student.
        method: what trained the model.
        seed: None where the model has none.
        counts: language -> counts on its test set.
        corpora: language -> title of the corpus.
        key: fingerprint of the model and the test sets; the evaluate stage skips a file whose key is current.
    """

    model: str
    role: str
    method: str
    seed: int | None
    counts: Mapping[str, Counts]
    corpora: Mapping[str, str]
    key: str = ""


def model_counts_path(run_directory: Path, model: str) -> Path:
    """Where a run keeps the counts of a model: `evaluation/<model id, slashes replaced by two dashes>.json`."""
    return run_directory / "evaluation" / (model.replace("/", "--") + ".json")


def save_model_counts(path: Path, record: ModelCounts) -> None:
    """Write the counts of one model, atomically and in compact JSON."""
    value = {
        "format": 1,
        "model": record.model,
        "role": record.role,
        "method": record.method,
        "seed": record.seed,
        "key": record.key,
        "counts": {
            language: {"corpus": record.corpora[language], "counts": counts_to_json(counts)}
            for language, counts in record.counts.items()
        },
    }
    write_atomic(path, json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def load_model_counts(path: Path) -> ModelCounts:
    """Read what `save_model_counts` wrote.

    Raises:
        IntegrityError: the file is missing or damaged; the message names it.
    """
    value = read_json(path)
    try:
        entries = value["counts"].items()
        return ModelCounts(
            model=value["model"],
            role=value["role"],
            method=value["method"],
            seed=value["seed"],
            counts={language: counts_from_json(entry["counts"]) for language, entry in entries},
            corpora={language: entry["corpus"] for language, entry in entries},
            key=value["key"],
        )
    except (KeyError, TypeError, AttributeError) as fault:
        raise IntegrityError(f"{path}: not a file of model counts ({fault}); delete it and evaluate again") from fault
    except IntegrityError as fault:
        raise IntegrityError(f"{path}: {fault}") from fault
