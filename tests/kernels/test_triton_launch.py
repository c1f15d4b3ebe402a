"""What a launch asks Triton for, and when it asks again. A kernel that records stands in for Triton."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from structkd.kernels import triton_launch
from structkd.kernels.triton_launch import launch


class Parameter:
    do_not_specialize = True


class Kernel:
    """Compiles when it is called with tensors; what it compiles is called with addresses."""

    params = [Parameter()] * 3

    def __init__(self) -> None:
        self.compiled: list[Any] = []
        self.launched: list[Any] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def compile_and_launch(*arguments: Any, **constants: Any) -> Binary:
            self.compiled.append((grid, arguments, constants))
            return Binary(self)

        return compile_and_launch


class Binary:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, int, int]) -> Any:
        assert len(grid) == 3
        return lambda *arguments: self.kernel.launched.append((grid, arguments))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(triton_launch, "_binaries", {})
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    return Kernel()


def test_the_second_launch_uses_the_binary_of_the_first(kernel: Kernel) -> None:
    x, y = torch.zeros(8), torch.ones(8)
    launch(kernel, (2, 3), (x, 5), {"C": 9, "LOG": True}, 8)
    launch(kernel, (4,), (y, 6), {"C": 9, "LOG": True}, 8)
    ((grid, arguments, constants),) = kernel.compiled
    assert (grid, constants) == ((2, 3), {"C": 9, "LOG": True, "num_warps": 8, "enable_fp_fusion": True})
    assert arguments[0] is x
    assert arguments[1] == 5
    assert kernel.launched == [((4, 1, 1), (y.data_ptr(), 6, 9, True))]


def test_what_needs_another_binary_is_compiled(kernel: Kernel) -> None:
    x = torch.zeros(8)
    launch(kernel, (1,), (x, 5), {"C": 9})
    for arguments, constants, warps in (
        ((x.double(), 5), {"C": 9}, 4),
        ((x, 2**31), {"C": 9}, 4),
        ((x[1:], 5), {"C": 9}, 4),  # 4 bytes behind a multiple of 16
        ((x, 5), {"C": 10}, 4),
        ((x, 5), {"C": 9}, 8),
    ):
        before = len(kernel.compiled)
        launch(kernel, (1,), arguments, constants, warps)
        assert len(kernel.compiled) == before + 1
        launch(kernel, (1,), arguments, constants, warps)
        assert len(kernel.compiled) == before + 1


def test_numbers_that_triton_would_compile_in_are_refused(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parameter, "do_not_specialize", False)
    with pytest.raises(AssertionError):
        launch(kernel, (1,), (torch.zeros(1), 16), {})


def test_interpreted_kernels_are_called_as_they_are(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    for _ in range(2):
        launch(kernel, (1,), (torch.zeros(1), 16), {})
    assert len(kernel.compiled) == 2
