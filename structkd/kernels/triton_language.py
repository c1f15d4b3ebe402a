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

__all__ = ["finite", "given", "jit", "kernel", "row", "tile", "tl"]


def kernel(numbers):
    """A kernel whose numbers, names with spaces between them, are not compiled in: one binary serves all sizes."""
    return jit(do_not_specialize=numbers.split())


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
    """A [C, C] matrix padded to [P, P], in float64; transposed if ``swap`` is 1, not if it is 0.

    A lane gets columns, so that sums over rows stay inside lanes. The hint asks for that, whatever the order in memory:
    of a transposed matrix lanes would get rows. Without ``swap >> 1``, which is 0, the hint might be believed.
    """
    i = tl.arange(0, P)[:, None]
    j = tl.arange(0, P)[None, :]
    at = tl.max_contiguous(tl.where(swap == 1, j * C + i, i * C + j) + (swap >> 1), (1, P))
    return tl.load(base + at, mask=(i < C) & (j < C), other=other).to(tl.float64)
