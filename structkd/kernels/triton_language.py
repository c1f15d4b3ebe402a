"""The one file that imports Triton, and the words its kernels share.

It is imported by the kernels, and they by ``triton_backend.py`` when the first question is asked, so that everything
else works where there is no Triton.
"""
# mypy: disallow-untyped-defs=False
# (the types of a kernel's arguments are Triton's: scalars, pointers and blocks)

from __future__ import annotations

import triton
import triton.language as tl

jit = triton.jit

__all__ = ["finite", "given", "jit", "row", "tile", "tl"]


@jit
def finite(peak):
    """A maximum that can be subtracted: 0 where everything is -inf."""
    return tl.where(peak == float("-inf"), 0.0, peak)


@jit
def given(condition, tag, C: tl.constexpr):
    """The tags that exist, if a scalar condition holds: the interpreter does not mask blocks by scalars."""
    return tag < tl.where(condition, C, 0)


@jit
def row(base, step, tag, C: tl.constexpr, inside, other):
    """C values of one step, in float64."""
    return tl.load(base + step * C + tag, mask=inside, other=other).to(tl.float64)


@jit
def tile(base, swap, C: tl.constexpr, P: tl.constexpr, other):
    """A [C, C] matrix padded to [P, P], in float64; transposed if ``swap`` is 1."""
    i = tl.arange(0, P)[:, None]
    j = tl.arange(0, P)[None, :]
    at = tl.where(swap == 1, j * C + i, i * C + j)
    return tl.load(base + at, mask=(i < C) & (j < C), other=other).to(tl.float64)
