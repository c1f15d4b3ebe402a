"""The file of a model's counts: read back whole, refused by name when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from structkd.errors import IntegrityError
from structkd.evaluation import ModelCounts, count, load_model_counts, model_counts_path, save_model_counts


def test_a_model_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    counts = count([["A", "B"]], [["A", "A"]], task="pos")
    record = ModelCounts("models/structural/seed-1", "student", "structural", 1, {"en": counts}, {"en": "Toy"})
    path = model_counts_path(tmp_path, record.model)
    save_model_counts(path, record)
    assert path.relative_to(tmp_path) == Path("evaluation/models--structural--seed-1.json")
    again = load_model_counts(path)
    assert (again.model, again.role, again.method, again.seed) == (record.model, "student", "structural", 1)
    assert again.corpora == {"en": "Toy"}
    assert np.array_equal(again.counts["en"].by_label, counts.by_label)


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text('{"model": "m"}')
    with pytest.raises(IntegrityError, match=r"model\.json.*evaluate again"):
        load_model_counts(path)
    path.write_text(
        '{"model": "m", "role": "r", "method": "x", "seed": 1, "counts": {"en": {"corpus": "c", "counts": {}}}}'
    )
    with pytest.raises(IntegrityError, match=r"model\.json.*damaged"):
        load_model_counts(path)
