"""Forward-backward in Triton: one program for a sentence and a direction, then one for a sentence and some steps.

Exp space in float64, as in ``scaled.py``: a step is a matrix product with exp(transitions - max), and a running
product is rescaled by the power of two of its largest entry, one step late, so that the maximum is taken beside the
next product and not in front of it. A row that may have lost mass by underflow is marked on the device and done again
by ``finish`` in log space; nobody waits for the mark. The derivative along a direction is carried along as a dual
number. Sums over steps are partial sums in a fixed order, so results do not change from run to run.

Fields of ``state``, 5 or 8 of [B, T, C]: 0 forward before the step's own emission, 1 forward with it, 2 backward with
it; 3 and 4 exp(emissions - max), one for each direction; 5 to 7 the derivatives of 0 to 2. Behind them one [B], the
logarithms of what was taken out. The product of 0 and 2 is the posterior, that of 1 at t, the transitions, and 2 at
t+1 that of an edge. Log space keeps logarithms there, and derivatives of logarithms.
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from structkd.kernels.triton_language import finite, given, jit, kernel, row, tile, tl

_LN2 = tl.constexpr(0.6931471805599453)
_STEPS = tl.constexpr(16)
# A product below 1e-308 is lost. What it would have been worth, relative to the total, is below 1e-20 as long as one
# step does not shrink below 2^_SMALLEST = 1e-90, and forward times backward, checked in ``expect``, not below 1e-195.
_SMALLEST = tl.constexpr(-299)
# Nor may a prefix be lost on its way forward. As long as all that is not 0 is above this, alphas and transitions, no
# product of two underflows, and what is 0 is forbidden.
_LEAST = tl.constexpr(1e-150)


@jit
def _weigh_steps(e, weights, n, C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr):
    """exp(emissions - max) of all steps, many at a time, and the sum of the maxima; in log space the emissions."""
    tag = tl.arange(0, P)[None, :]
    shift = tl.zeros([_STEPS], tl.float64)
    for base in range(0, n, _STEPS):
        t = (base + tl.arange(0, _STEPS))[:, None]
        inside = (t < n) & (tag < C)
        raw = tl.load(e + t * C + tag, mask=inside, other=float("-inf")).to(tl.float64)
        if not LOG:
            top = finite(tl.max(raw, 1))
            shift += top
            raw = tl.exp(raw - top[:, None])
        tl.store(weights + t * C + tag, raw, mask=inside)
    tl.debug_barrier()
    return tl.sum(shift, 0)


@jit
def _exponents(y):
    """The binary exponents of numbers >= 0."""
    return ((y.to(tl.int64, bitcast=True) >> 52) - 1023).to(tl.int32)


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
def _too_small(m):
    """The columns of a matrix with something in it that products could lose."""
    return tl.min(tl.where(m > 0, m, 1.0), 0) < _LEAST


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
    b, reverse, e, a, start, end, u, v, lengths, state, marks, B, T, marks_b, a_b, a_t,
    start_b, end_b, u_b, u_t, v_b, v_t,
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
    # The backward product without the emission is never asked for.
    before_at = state + b * T * C
    after_at = before_at + (1 + reverse) * fields
    weights = before_at + (3 + reverse) * fields
    wanted = given(reverse == 0, tag, C)

    none = float("-inf")
    shift = _weigh_steps(e, weights, n, C, P, LOG)
    x = row(start + b * start_b, 0, tag, C, inside, none)
    z = row(end + b * end_b, 0, tag, C, inside, none)
    if not LOG:
        top = finite(tl.max(x, 0))
        x = tl.exp(x - top)
        shift += top
        top = finite(tl.max(z, 0))
        z = tl.exp(z - top)
        shift += top
    x = tl.where(reverse == 1, z, x)
    first = reverse * (n - 1)
    ahead = 1 - 2 * reverse  # from a step to the next
    weight = row(weights, first, tag, C, inside, 0.0)
    y = x + weight if LOG else x * weight
    dx = tl.zeros_like(x)
    dy = dx
    along = dx
    if DUAL:
        along = tl.load(u + first * u_t + tag, mask=inside, other=0.0).to(tl.float64)
        dy = along if LOG else y * along
        along = tl.load(u + (first + ahead) * u_t + tag, mask=given(n > 1, tag, C), other=0.0).to(tl.float64)
        tl.store(before_at + 5 * fields + first * C + tag, dx, mask=wanted)
        tl.store(after_at + 5 * fields + first * C + tag, dy, mask=inside)
    tl.store(before_at + first * C + tag, x, mask=wanted)
    tl.store(after_at + first * C + tag, y, mask=inside)

    lost = (y < _LEAST) & (x > 0) & (weight > 0)
    if not VARY:
        m, mv, peak = _matrices(a, v, reverse, C, P, LOG, PAIRS)
        shift += peak * (n - 1)
        if not LOG:
            lost = lost | _too_small(m)
    # What a step needs is loaded one or two steps ahead.
    weight = row(weights, first + ahead, tag, C, given(n > 1, tag, C), 0.0)
    next_weight = row(weights, first + 2 * ahead, tag, C, given(n > 2, tag, C), 0.0)
    exponent = 0
    smallest = 0
    for s in range(1, n):
        pos = first + s * ahead
        later = row(weights, pos + 2 * ahead, tag, C, given(s + 2 < n, tag, C), 0.0)
        next_along = along
        if DUAL:
            following = u + (pos + ahead) * u_t + tag
            next_along = tl.load(following, mask=given(s + 1 < n, tag, C), other=0.0).to(tl.float64)
        if VARY:
            pair = pos - 1 + reverse
            m, mv, peak = _matrices(a + pair * a_t, v + pair * v_t, reverse, C, P, LOG, PAIRS)
            shift += peak
            if not LOG:
                lost = lost | _too_small(m)
        x, dx = _advance(y, dy, m, mv, LOG, DUAL, PAIRS)
        if LOG:
            y = x + weight
            if DUAL:
                dy = dx + along
        else:
            power = tl.max(_exponents(y), 0)
            exponent += power
            smallest = tl.minimum(smallest, power)
            factor = weight * (tl.cast(1023 - power, tl.int64) << 52).to(tl.float64, bitcast=True)
            y = x * factor
            lost = lost | ((y < _LEAST) & (x > 0) & (weight > 0))
            if DUAL:
                dy = dx * factor + y * along
        tl.store(before_at + pos * C + tag, x, mask=wanted)
        tl.store(after_at + pos * C + tag, y, mask=inside)
        if DUAL:
            tl.store(before_at + 5 * fields + pos * C + tag, dx, mask=wanted)
            tl.store(after_at + 5 * fields + pos * C + tag, dy, mask=inside)
        weight = next_weight
        next_weight = later
        along = next_along
    if not LOG:
        smallest = tl.minimum(smallest, tl.max(_exponents(y), 0))
        damaged = tl.maximum((smallest < _SMALLEST).to(tl.int32), tl.max(lost.to(tl.int32), 0) * (1 - reverse))
        tl.store(marks + B + b * marks_b + reverse, damaged)
        # What sum_c x_c y_c at the first step lacks of Z.
        scale = state + (8 if DUAL else 5) * fields
        tl.store(scale + b, shift + tl.cast(exponent, tl.float64) * _LN2, mask=reverse == 1)


@kernel("B T marks_b a_b a_t start_b end_b u_b u_t v_b v_t direction")
def sweep(
    e, a, start, end, u, v, lengths, state, marks, B, T, marks_b, a_b, a_t, start_b, end_b,
    u_b, u_t, v_b, v_t, direction,
    C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Grid [B, 2], or [B, 1] for one direction alone."""
    sweep_row(
        tl.program_id(0), tl.program_id(1) + direction, e, a, start, end, u, v, lengths, state, marks, B, T,
        marks_b, a_b, a_t, start_b, end_b, u_b, u_t, v_b, v_t, C, P, LOG, VARY, DUAL, PAIRS,
    )  # fmt: skip
