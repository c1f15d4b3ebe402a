"""Forward-backward in Triton: one program for a sentence and a direction, then one for a sentence and some steps.

Exp space in float64, as in ``scaled.py``: a step is a matrix product with exp(transitions - max), and a running
product is rescaled by the power of two of its largest entry, one step late, so that the maximum is taken beside the
next product and not in front of it. A row that may have lost mass by underflow is marked on the device and done again
by ``repair`` in log space; nobody waits for the mark. The derivative along a direction is carried along as a dual
number. Sums over steps are partial sums in a fixed order, so results do not change from run to run.

Fields of ``state`` [3 or 6, B, T, C]: 0 forward before the step's own emission, 1 forward with it, 2 backward with
it; 3 to 5 their derivatives. The product of 0 and 2 is the posterior, that of 1 at t, the transitions, and 2 at t+1
that of an edge. Log space keeps logarithms, and derivatives of logarithms.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from structkd.kernels.triton_language import finite, given, jit, row, tile, tl

_LN2 = tl.constexpr(0.6931471805599453)


@jit
def _weight(raw, LOG: tl.constexpr):
    """exp(raw - max) and the max of one step's emissions; in log space they stay as they are."""
    top = finite(tl.max(raw, 0))
    if LOG:
        return raw, top
    return tl.exp(raw - top), top


@jit
def matrix(a, swap, C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr):
    """exp(transitions - max) and the max; in log space the transitions as they are."""
    m = tile(a, swap, C, P, float("-inf"))
    top = finite(tl.max(tl.max(m, 1), 0))
    if not LOG:
        m = tl.exp(m - top)
    return m, top


@jit
def _matrices(a, v, swap, C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, PAIRS: tl.constexpr):
    """The transitions of a step, the max taken out, and their direction (times the transitions in exp space)."""
    m, top = matrix(a, swap, C, P, LOG)
    mv = m
    if PAIRS:
        mv = tile(v, swap, C, P, 0.0)
        if not LOG:
            mv = mv * m
    return m, mv, top


@jit
def _advance(x, dx, m, mv, LOG: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr):
    """A row times a matrix, and its derivative."""
    if LOG:
        y = x[:, None] + m
        top = finite(tl.max(y, 0))
        y = tl.exp(y - top[None, :])
        total = tl.sum(y, 0)
        out = top + tl.log(total)
        if DUAL:
            dy = dx[:, None] + mv if PAIRS else dx[:, None] + tl.zeros_like(m)
            dx = tl.sum(y * dy, 0) / tl.where(total > 0, total, 1.0)
    else:
        out = tl.sum(x[:, None] * m, 0)
        if DUAL:
            dy = dx[:, None] * m
            if PAIRS:
                dy += x[:, None] * mv
            dx = tl.sum(dy, 0)
    return out, dx


@jit
def sweep_row(
    b, reverse, e, a, start, end, u, v, lengths, state, scale, B, T, a_b, a_t, start_b, end_b, u_b, u_t, v_b, v_t,
    C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """One direction of one sentence; step s is position s, or n-1-s if ``reverse`` is 1."""
    b = b.to(tl.int64)
    n = tl.load(lengths + b).to(tl.int32)
    tag = tl.arange(0, P)
    inside = tag < C
    e += b * T * C
    a += b * a_b
    u += b * u_b
    v += b * v_b
    fields = B.to(tl.int64) * T * C
    after_at = state + b * T * C + (1 + reverse) * fields
    # The backward product without the emission is never asked for.
    before_at = state + b * T * C
    wanted = given(reverse == 0, tag, C)

    none = float("-inf")
    x = row(start + b * start_b, 0, tag, C, inside, none)
    shift = finite(tl.max(x, 0))
    if not LOG:
        x = tl.exp(x - shift)
    z = row(end + b * end_b, 0, tag, C, inside, none)
    top = finite(tl.max(z, 0))
    if not LOG:
        z = tl.exp(z - top)
    x = tl.where(reverse == 1, z, x)
    shift += top
    first = reverse * (n - 1)
    ahead = 1 - 2 * reverse  # from a step to the next
    weight, top = _weight(row(e, first, tag, C, inside, none), LOG)
    shift += top
    y = x + weight if LOG else x * weight
    dx = tl.zeros_like(x)
    dy = dx
    if DUAL:
        along = tl.load(u + first * u_t + tag, mask=inside, other=0.0).to(tl.float64)
        dy = along if LOG else y * along
        tl.store(before_at + 3 * fields + first * C + tag, dx, mask=wanted)
        tl.store(after_at + 3 * fields + first * C + tag, dy, mask=inside)
    tl.store(before_at + first * C + tag, x, mask=wanted)
    tl.store(after_at + first * C + tag, y, mask=inside)

    if not VARY:
        m, mv, peak = _matrices(a, v, reverse, C, P, LOG, PAIRS)
    # Emissions are loaded two steps ahead and made weights one step ahead.
    weight, top = _weight(row(e, first + ahead, tag, C, given(n > 1, tag, C), none), LOG)
    raw = row(e, first + 2 * ahead, tag, C, given(n > 2, tag, C), none)
    exponent = 0
    for s in range(1, n):
        pos = first + s * ahead
        later = row(e, pos + 2 * ahead, tag, C, given(s + 2 < n, tag, C), none)
        if VARY:
            pair = pos - 1 + reverse
            m, mv, peak = _matrices(a + pair * a_t, v + pair * v_t, reverse, C, P, LOG, PAIRS)
        if DUAL:
            along = tl.load(u + pos * u_t + tag, mask=inside, other=0.0).to(tl.float64)
        x, dx = _advance(y, dy, m, mv, LOG, DUAL, PAIRS)
        if LOG:
            y = x + weight
            if DUAL:
                dy = dx + along
        else:
            power = (tl.max(y, 0).to(tl.int64, bitcast=True) >> 52) - 1023
            exponent += power.to(tl.int32)
            factor = weight * ((1023 - power) << 52).to(tl.float64, bitcast=True)
            y = x * factor
            if DUAL:
                dy = dx * factor + y * along
        shift += top + peak
        tl.store(before_at + pos * C + tag, x, mask=wanted)
        tl.store(after_at + pos * C + tag, y, mask=inside)
        if DUAL:
            tl.store(before_at + 3 * fields + pos * C + tag, dx, mask=wanted)
            tl.store(after_at + 3 * fields + pos * C + tag, dy, mask=inside)
        weight, top = _weight(raw, LOG)
        raw = later
    if not LOG:
        # What sum_c x_c y_c at the first step lacks of Z.
        tl.store(scale + b, shift + tl.cast(exponent, tl.float64) * _LN2, mask=reverse == 1)


@jit(do_not_specialize=["B", "T", "a_b", "v_b", "u_b", "direction"])
def sweep(
    e, a, start, end, u, v, lengths, state, scale, B, T, a_b, a_t, start_b, end_b, u_b, u_t, v_b, v_t, direction,
    C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Grid [B, 2], or [B, 1] for one direction alone."""
    sweep_row(
        tl.program_id(0), tl.program_id(1) + direction, e, a, start, end, u, v, lengths, state, scale, B, T,
        a_b, a_t, start_b, end_b, u_b, u_t, v_b, v_t, C, P, LOG, VARY, DUAL, PAIRS,
    )  # fmt: skip
