"""The dispatch table."""

from __future__ import annotations

import pytest
import torch

from structkd.kernels import BackendUnavailable, available_backends, dispatch, select, status, use_backend
from structkd.kernels.reference import Reference


def test_reference_and_torch_run_everywhere() -> None:
    assert {"reference", "torch"} <= set(available_backends())


def test_status_tells_available_or_why_not() -> None:
    assert set(status()) == set(dispatch._TABLE)
    for name, state in status().items():
        assert (state == "available") == (name in available_backends())
        assert state


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BackendUnavailable, match="reference"), use_backend("numba"):
        pass


def test_a_backend_that_cannot_run_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Reference):
        name = "broken"

        def unavailable(self) -> str:
            return "no compiler was there"

    monkeypatch.setitem(dispatch._TABLE, "broken", Broken)
    with pytest.raises(BackendUnavailable, match="no compiler was there"), use_backend("broken"):
        pass


def test_a_backend_is_refused_on_a_device_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Reference):
        def runs_on(self, device: torch.device) -> bool:
            return device.type == "cuda"

    monkeypatch.setitem(dispatch._TABLE, "elsewhere", Elsewhere)
    with use_backend("elsewhere"), pytest.raises(BackendUnavailable, match="cpu tensors"):
        select(torch.device("cpu"))


def test_the_default_returns_after_the_block() -> None:
    before = select(torch.device("cpu")).name
    with use_backend("reference"):
        assert select(torch.device("cpu")).name == "reference"
    assert select(torch.device("cpu")).name == before


def test_the_reference_never_answers_unless_it_is_forced() -> None:
    assert select(torch.device("cpu")).name != "reference"
