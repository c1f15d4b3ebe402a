from __future__ import annotations

import gc
from pathlib import Path

import pytest

import structkd.stages
from tests.stages.toy import write_corpora


@pytest.fixture(scope="session", autouse=True)
def frozen_imports() -> None:
    """The Trainer collects garbage after each training, which walks over all that was ever imported: half the time."""
    assert structkd.stages
    gc.freeze()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the toy corpora."""
    write_corpora(tmp_path)
    return tmp_path
