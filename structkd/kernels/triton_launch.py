"""Launches of Triton kernels without Triton's search for the binary, which takes longer than a small kernel runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

_LARGEST = 2**31 - 1
_ALIGNMENT = 16

_binaries: dict[tuple[Any, ...], Any] = {}


def interpreted() -> bool:
    """Whether Triton interprets its kernels on the CPU in this process."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def launch(
    kernel: Any, grid: tuple[int, ...], arguments: Sequence[Tensor | int], constants: dict[str, Any], warps: int = 4
) -> None:
    """Launch a kernel on the device of its first argument, a tensor.

    Args:
        kernel: Made by ``triton_language.kernel``. Its binary depends on the types of the arguments, on whether a
            number needs 64 bits and a tensor begins at a multiple of 16 bytes, and on the constants.
        grid: Programs in up to three directions.
        arguments: Tensors and numbers, in the order of the kernel's parameters.
        constants: The kernel's last parameters, in their order.
        warps: Of a program.
    """
    first = arguments[0]
    assert isinstance(first, Tensor)
    values: list[int] = []
    key: list[Any] = [kernel, first.device, warps, *constants.values()]
    for x in arguments:
        if isinstance(x, int):
            unusual = x > _LARGEST
            values.append(x)
        else:
            address = x.data_ptr()
            unusual = address % _ALIGNMENT != 0
            values.append(address)
            key.append(x.dtype)
        if unusual:
            key.append(len(values))
    binary = _binaries.get(tuple(key))
    with _current(first.device):
        if binary is not None:
            binary[grid + (1,) * (3 - len(grid))](*values, *constants.values())
            return
        # Multiply and add in one instruction, whatever the default of this version of Triton.
        binary = kernel[grid](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)
    if not interpreted():
        assert all(p.do_not_specialize for p, x in zip(kernel.params, arguments, strict=False) if isinstance(x, int))
        _binaries[tuple(key)] = binary


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)
