"""What needs no recursion, in Triton: masks read, expectations weighed. One launch each instead of a dozen."""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from structkd.kernels.triton_language import jit, kernel, tl

_STEPS = tl.constexpr(256)
_CELLS = tl.constexpr(1024)
_SUMS = tl.constexpr(32)
_ROWS = tl.constexpr(32)

#: Facts about the mask of a sentence: kept steps that are not the first ones; a first step that is off.
HOLES, FIRST_OFF = 1, 2


@jit
def read_row(mask, T, mask_t):
    """The number of steps that a mask [T] keeps, and the facts about it."""
    n = 0
    holes = 0
    for base in range(0, T, _STEPS):
        t = base + tl.arange(0, _STEPS)
        here = tl.load(mask + t * mask_t, mask=t < T, other=0).to(tl.int32)
        before = tl.load(mask + (t - 1) * mask_t, mask=(t > 0) & (t < T), other=1).to(tl.int32)
        n += tl.sum(here, 0)
        holes = tl.maximum(holes, tl.max(here * (1 - before), 0))
    first_off = 1 - tl.load(mask).to(tl.int32)
    return n, tl.maximum(holes, first_off) + 2 * first_off


@kernel("T mask_b mask_t")
def read_mask(mask, lengths, facts, T, mask_b, mask_t):
    """Grid [B]: the number of steps that a mask [B, T] keeps, and 4 times that + HOLES + FIRST_OFF."""
    b = tl.program_id(0).to(tl.int64)
    n, fact = read_row(mask + b * mask_b, T, mask_t)
    tl.store(lengths + b, n.to(tl.int64))
    tl.store(facts + b, 4 * n + fact)


@kernel("B T weights_b blocks")
def weigh(
    weights, unary, pairs, lengths, by_emissions, by_transitions, by_start, by_end, B, T, weights_b, blocks,
    C: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Grid [blocks of 1024 emissions + blocks of 32 of the other potentials]: weights [B] times expectations.

    Potentials other than the emissions are shared by all sentences: their sums are over B, in a fixed order.
    """
    block = tl.program_id(0)
    if block < blocks:
        cell = block.to(tl.int64) * _CELLS + tl.arange(0, _CELLS)
        inside = cell < B.to(tl.int64) * T * C
        step = cell // C
        b = step // T
        n = tl.load(lengths + b, mask=inside, other=0)
        weight = tl.load(weights + b * weights_b, mask=inside, other=0.0)
        kept = inside & (step % T < n)
        value = tl.load(unary + cell, mask=kept, other=0.0)
        tl.store(by_emissions + cell, tl.where(kept, weight * value, 0.0), mask=inside)
    else:
        pair = (block - blocks) * _SUMS + tl.arange(0, _SUMS)
        first = pair - C * C
        last = first - C
        is_pair = (pair < C * C)[None, :]
        is_first = ((first >= 0) & (first < C))[None, :]
        is_last = ((last >= 0) & (last < C))[None, :]
        total = tl.zeros([_SUMS], tl.float64)
        for base in range(0, B, _ROWS):
            row = (base + tl.arange(0, _ROWS)).to(tl.int64)
            ok = row < B
            last_step = tl.load(lengths + row, mask=ok, other=1) - 1
            share = tl.load(weights + row * weights_b, mask=ok, other=0.0).to(tl.float64)
            tag = tl.where(is_first, first[None, :], (last_step * C)[:, None] + last[None, :])
            at = unary + (row * T * C)[:, None] + tag
            amount = tl.load(at, mask=ok[:, None] & (is_first | is_last), other=0.0).to(tl.float64)
            if PAIRS:
                at = pairs + (row * C * C)[:, None] + pair[None, :]
                amount += tl.load(at, mask=ok[:, None] & is_pair, other=0.0).to(tl.float64)
            total += tl.sum(share[:, None] * amount, 0)
        if PAIRS:
            tl.store(by_transitions + pair, total, mask=pair < C * C)
        tl.store(by_start + first, total, mask=(first >= 0) & (first < C))
        tl.store(by_end + last, total, mask=(last >= 0) & (last < C))
