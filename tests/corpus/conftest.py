from __future__ import annotations

import csv
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def manifest(real_data: Path) -> dict[str, dict[str, str]]:
    """Rows of the list that comes with the real corpora, by path."""
    with (real_data / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file, delimiter="\t")}
