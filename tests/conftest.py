"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora named by STRUCTKD_DATA; the test is skipped where none is named."""
    root = os.environ.get("STRUCTKD_DATA")
    if not root:
        pytest.skip("STRUCTKD_DATA names no folder of real corpora")
    path = Path(root)
    assert path.is_dir(), f"STRUCTKD_DATA={root} is not a folder"
    return path
