"""What the Triton kernels take, and how they are launched.

Triton searches for the binary of a kernel at every launch, and that takes longer than a small kernel runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from structkd.kernels.interface import Potentials

# A few programs for each multiprocessor, when steps are shared out.
_PROGRAMS = 528
# Warps of a program, by the padded number of tags; fewer where a maximum has to be found by all of them together.
WARPS = {16: 1, 32: 4, 64: 8, 128: 16}
VITERBI_WARPS = {16: 1, 32: 1, 64: 4, 128: 16}
_LARGEST = 2**31 - 1
_ALIGNMENT = 16

_binaries: dict[tuple[Any, ...], Any] = {}


def interpreted() -> bool:
    """Whether Triton interprets its kernels on the CPU in this process."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class Chain:
    """Potentials as the kernels take them: contiguous tensors, and the strides of what may be shared."""

    def __init__(self, p: Potentials) -> None:
        batch, length, tags = p.emissions.shape
        self.shape = batch, length
        self.e = p.emissions.contiguous()
        self.a, self.a_b, self.a_t = matrices(p.transitions, self.e, length)
        self.start, self.end, self.lengths = p.start.contiguous(), p.end.contiguous(), p.lengths.contiguous()
        self.start_b = tags if p.start.dim() == 2 else 0
        self.end_b = tags if p.end.dim() == 2 else 0
        padded = max(16, 1 << (tags - 1).bit_length())
        self.sizes = {"C": tags, "P": padded}
        self.warps, self.viterbi_warps = WARPS[padded], VITERBI_WARPS[padded]
        self.tensors = self.e, self.a, self.start, self.end
        self.strides = self.a_b, self.a_t, self.start_b, self.end_b
        self.span = max(4, -(-batch * length // _PROGRAMS))
        self.chunks = -(-length // self.span)

    def workspace(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.e.device)


def matrices(x: Tensor, e: Tensor, length: int) -> tuple[Tensor, int, int]:
    """Matrices [C, C], [B, C, C] or [B, T-1, C, C], and their strides over sentences and steps."""
    cells = x.shape[-1] ** 2
    if x.dim() == 4 and length == 1:
        return e, 0, 0  # there are none, but an address is wanted
    x = x.contiguous()
    return x, cells * (length - 1 if x.dim() == 4 else 1) if x.dim() > 2 else 0, cells if x.dim() == 4 else 0


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
