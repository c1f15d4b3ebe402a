from __future__ import annotations

import gc

import pytest

import structkd.stages


@pytest.fixture(scope="session", autouse=True)
def frozen_imports() -> None:
    """The Trainer collects garbage after each training, which walks over all that was ever imported: half the time."""
    assert structkd.stages
    gc.freeze()
