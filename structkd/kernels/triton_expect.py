"""Marginals, edges, gold scores and their derivatives from the two directions, in Triton; and the rows to redo.

``marks`` [B + B (chunks + 2)]: for every sentence whether its tags are no path, then whether each direction and each
block of steps may have lost mass.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from structkd.kernels.triton_language import finite, given, jit, kernel, row, tile, tl
from structkd.kernels.triton_sweep import matrix, sweep_row

_TOTAL = tl.constexpr(1e-195)  # see _SMALLEST
_BLOCK = tl.constexpr(64)
_CELLS = tl.constexpr(256)  # of a matrix, added up by one program, from so many blocks of steps at a time
_ROWS = tl.constexpr(4)


@jit
def _gold_score(b, e, a, start, end, tags, lengths, T, a_t, start_b, end_b, C: tl.constexpr):
    """The score of given tags, and whether they are neither a path nor -1 throughout."""
    n = tl.load(lengths + b).to(tl.int32)
    tags += b * T
    y0 = tl.minimum(tl.maximum(tl.load(tags), 0), C - 1)
    y1 = tl.minimum(tl.maximum(tl.load(tags + n - 1), 0), C - 1)
    score = tl.load(start + b * start_b + y0).to(tl.float64) + tl.load(end + b * end_b + y1).to(tl.float64)
    known = 0
    absent = 0
    for base in range(0, n, _BLOCK):
        t = base + tl.arange(0, _BLOCK)
        ok = t < n
        y = tl.load(tags + t, mask=ok, other=0)
        before = tl.load(tags + t - 1, mask=ok & (t > 0), other=0)
        known += tl.sum((ok & (y >= 0) & (y < C)).to(tl.int32), 0)
        absent += tl.sum((ok & (y == -1)).to(tl.int32), 0)
        y = tl.minimum(tl.maximum(y, 0), C - 1)
        before = tl.minimum(tl.maximum(before, 0), C - 1)
        score += tl.sum(tl.load(e + (b * T + t) * C + y, mask=ok, other=0.0).to(tl.float64), 0)
        pair = a + (t - 1) * a_t + before * C + y
        score += tl.sum(tl.load(pair, mask=ok & (t > 0), other=0.0).to(tl.float64), 0)
    return score, (known < n) & (absent < n)


@jit
def _joint(x, right, LOG: tl.constexpr):
    """Forward times backward, their sum, and the logarithm taken out of both."""
    if LOG:
        z = x + right
        top = finite(tl.max(z, 0))
        z = tl.exp(z - top)
    else:
        z = x * right
        top = 0.0
    return z, tl.sum(z, 0), top


@jit
def _log_partition(state, fields, scale, tag, C: tl.constexpr, LOG: tl.constexpr):
    """log Z from the first step; in exp space ``scale`` points to the logarithm of what was taken out."""
    none = float("-inf") if LOG else 0.0
    x = row(state, 0, tag, C, tag < C, none)
    _, mass, top = _joint(x, row(state + 2 * fields, 0, tag, C, tag < C, none), LOG)
    return tl.log(mass) + (top if LOG else tl.load(scale))


@jit
def _slope(dx, x, LOG: tl.constexpr):
    """The derivative of the logarithm."""
    if LOG:
        return dx
    return tl.where(x > 0, dx / tl.where(x > 0, x, 1.0), 0.0)


@jit
def expect_chunk(
    b, chunk, e, a, start, end, v, lengths, state, tags, log_z, unary, pairs, marks,
    B, T, span, chunks, a_b, a_t, start_b, end_b, v_b, v_t,
    C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
    GOLD: tl.constexpr, COUNTS: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Marginals of some steps, and their edges (EDGES) or the sum of these (COUNTS), or the derivatives of it all.

    With GOLD, the score of given tags minus log Z, and their counts minus the expectations.
    """
    b = b.to(tl.int64)
    n = tl.load(lengths + b).to(tl.int32)
    tag = tl.arange(0, P)
    inside = tag < C
    i = tag[:, None]
    j = tag[None, :]
    both = (i < C) & (j < C)
    fields = B.to(tl.int64) * T * C
    scale = state + (8 if DUAL else 5) * fields + b
    state += b * T * C
    none = float("-inf") if LOG else 0.0
    a += b * a_b
    v += b * v_b
    m, _ = matrix(a, 0, C, P, LOG)
    if (not DUAL) and chunk == 0:
        value = _log_partition(state, fields, scale, tag, C, LOG)
        if GOLD:
            score, wrong = _gold_score(b, e, a, start, end, tags, lengths, T, a_t, start_b, end_b, C)
            known = (tl.load(tags + b * T) >= 0) & (value > float("-inf"))
            value = tl.where(known, score - value, float("-inf"))
            tl.store(marks + b, wrong.to(tl.int32))
        tl.store(log_z + b, value)
    begin = chunk * span
    ok = given((begin > 0) & (begin <= n), tag, C)
    left = row(state + fields, begin - 1, tag, C, ok, none)
    d_left = tl.zeros_like(left)
    if DUAL:
        d_left = _slope(row(state + 6 * fields, begin - 1, tag, C, ok, 0.0), left, LOG)
    total = tl.zeros_like(m)
    if GOLD:
        present = tl.load(tags + b * T) >= 0
        y_left = tl.load(tags + b * T + begin - 1, mask=begin > 0, other=-1).to(tl.int32)
    damaged = 0
    for t in range(begin, tl.minimum(begin + span, T)):
        ok = given(t < n, tag, C)
        x = row(state, t, tag, C, ok, none)
        y = row(state + fields, t, tag, C, ok, none)
        right = row(state + 2 * fields, t, tag, C, ok, none)
        pair = tl.where((t > 0) & (t < n), t - 1, 0)
        if VARY:
            m, _ = matrix(a + pair * a_t, 0, C, P, LOG)
        z, mass, top = _joint(x, right, LOG)
        some = tl.where(mass > 0, mass, 1.0)
        posterior = z / some
        if LOG:
            edge = tl.exp(left[:, None] + m + (right - (top + tl.log(some)))[None, :])
        else:
            edge = left[:, None] * m * (right / some)[None, :]
            sound = (mass >= _TOTAL) & (mass < float("inf"))
            damaged = tl.where((t < n) & (sound == 0), 1, damaged)
        if DUAL:
            dx = _slope(row(state + 5 * fields, t, tag, C, ok, 0.0), x, LOG)
            dy = _slope(row(state + 6 * fields, t, tag, C, ok, 0.0), y, LOG)
            d_right = _slope(row(state + 7 * fields, t, tag, C, ok, 0.0), right, LOG)
            mean = tl.sum(posterior * (dx + d_right), 0)
            posterior = posterior * (dx + d_right - mean)
            slope = d_left[:, None] + (d_right - mean)[None, :]
            if PAIRS:  # read at every step: there is no room to keep it beside the transitions and their sum
                slope += tile(v + pair * v_t, 0, C, P, 0.0)
            edge = edge * slope
            d_left = dy
        if GOLD:
            live = present & (mass > 0) & (t < n)
            y_right = tl.load(tags + b * T + t).to(tl.int32)
            posterior = tl.where(live, tl.where(tag == y_right, 1.0, 0.0) - posterior, 0.0)
            hit = (i == y_left) & (j == y_right)
            edge = tl.where(live, tl.where(hit, 1.0, 0.0) - edge, 0.0)
            y_left = y_right
        # What lies beyond the length is no number, and may be NaN.
        edge = tl.where((t > 0) & (t < n), edge, 0.0)
        tl.store(unary + (b * T + t) * C + tag, tl.where(t < n, posterior, 0.0), mask=inside)
        if EDGES:
            tl.store(pairs + (b * (T - 1) + t - 1) * C * C + i * C + j, edge, mask=given(t > 0, i, C) & (j < C))
        if COUNTS:
            total += edge
        left = y
    if COUNTS:
        tl.store(pairs + (b * chunks + chunk) * C * C + i * C + j, total, mask=both)
    if not LOG:
        tl.store(marks + B + b * (chunks + 2) + 2 + chunk, damaged)


@kernel("B T span chunks a_b a_t start_b end_b v_b v_t")
def expect(
    e, a, start, end, u, v, lengths, state, tags, log_z, unary, pairs, marks,
    B, T, span, chunks, a_b, a_t, start_b, end_b, v_b, v_t,
    C: tl.constexpr, P: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
    GOLD: tl.constexpr, COUNTS: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Grid [B, chunks]. Counts are those of a block of steps: ``pairs`` is then a workspace [B, chunks, C, C]."""
    expect_chunk(
        tl.program_id(0), tl.program_id(1), e, a, start, end, v, lengths, state, tags, log_z, unary, pairs, marks,
        B, T, span, chunks, a_b, a_t, start_b, end_b, v_b, v_t,
        C, P, False, VARY, DUAL, PAIRS, GOLD, COUNTS, EDGES,
    )  # fmt: skip


@kernel("B T span chunks a_b a_t start_b end_b u_b u_t v_b v_t")
def finish(
    e, a, start, end, u, v, lengths, state, tags, log_z, unary, pairs, marks, counts,
    B, T, span, chunks, a_b, a_t, start_b, end_b, u_b, u_t, v_b, v_t,
    C: tl.constexpr, P: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
    GOLD: tl.constexpr, COUNTS: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Grid [B, C * C / 256 parts]: sentences with a mark again in log space; and ``counts`` [B, C, C] in a fixed order.

    There are next to no marks. Of a marked sentence the first program does everything.
    """
    b = tl.program_id(0)
    part = tl.program_id(1)
    flags = marks + B + b.to(tl.int64) * (chunks + 2)
    damaged = 0
    for base in range(0, chunks + 2, _BLOCK):
        at = base + tl.arange(0, _BLOCK)
        damaged = tl.maximum(damaged, tl.max(tl.load(flags + at, mask=at < chunks + 2, other=0), 0))
    parts = 1
    if (damaged > 0) & (part == 0):
        parts = tl.num_programs(1)
        for reverse in range(2):
            sweep_row(
                b, reverse, e, a, start, end, u, v, lengths, state, marks, B, T, chunks + 2, a_b, a_t,
                start_b, end_b, u_b, u_t, v_b, v_t, C, P, True, VARY, DUAL, PAIRS,
            )  # fmt: skip
        tl.debug_barrier()
        for chunk in range(chunks):
            expect_chunk(
                b, chunk, e, a, start, end, v, lengths, state, tags, log_z, unary, pairs, marks,
                B, T, span, chunks, a_b, a_t, start_b, end_b, v_b, v_t,
                C, P, True, VARY, DUAL, PAIRS, GOLD, COUNTS, EDGES,
            )  # fmt: skip
        tl.debug_barrier()
    if COUNTS:
        parts = tl.where((damaged > 0) & (part > 0), 0, parts)
        for extra in range(parts):
            cell = (part + extra) * _CELLS + tl.arange(0, _CELLS)
            total = tl.zeros([_CELLS], tl.float64)
            for base in range(0, chunks, _ROWS):
                chunk = (base + tl.arange(0, _ROWS))[:, None]
                at = (b.to(tl.int64) * chunks + chunk) * C * C + cell[None, :]
                some = (chunk < chunks) & (cell < C * C)[None, :]
                total += tl.sum(tl.load(pairs + at, mask=some, other=0.0), 0)
            tl.store(counts + b.to(tl.int64) * C * C + cell, total, mask=cell < C * C)
