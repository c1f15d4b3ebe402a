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

from structkd.kernels.triton_language import finite, jit, row, tile, tl

# A running product below 1e-308 is lost. What it would have been worth, relative to the total, is below 1e-20 as long
# as one step shrinks by no more than _STEP and forward times backward is not below _TOTAL.
_STEP = tl.constexpr(1e-90)
_TOTAL = tl.constexpr(1e-195)
_LN2 = tl.constexpr(0.6931471805599453)
_GOLD_BLOCK = tl.constexpr(64)
_FLAG_BLOCK = tl.constexpr(64)


@jit
def _weight(raw, LOG: tl.constexpr):
    """exp(raw - max) and the max of one step's emissions; in log space they stay as they are."""
    top = finite(tl.max(raw, 0))
    if LOG:
        return raw, top
    return tl.exp(raw - top), top


@jit
def _matrices(a, v, pair, a_t, v_t, swap, C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, PAIRS: tl.constexpr):
    """The transitions of a step, their direction (times the transitions in exp space), and the max taken out."""
    m = tile(a + pair * a_t, swap, C, P, float("-inf"))
    top = finite(tl.max(tl.max(m, 1), 0))
    if not LOG:
        m = tl.exp(m - top)
    mv = m
    if PAIRS:
        mv = tile(v + pair * v_t, swap, C, P, 0.0)
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
    wanted = inside & (reverse == 0)

    none = float("-inf")
    x = tl.where(reverse == 1, row(end + b * end_b, 0, tag, C, inside, none),
                 row(start + b * start_b, 0, tag, C, inside, none))  # fmt: skip
    shift = finite(tl.max(x, 0))
    if not LOG:
        x = tl.exp(x - shift)
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

    m, mv, peak = _matrices(a, v, 0, a_t, v_t, reverse, C, P, LOG, PAIRS) if not VARY else _matrices(
        a, v, 0, 0, 0, reverse, C, P, LOG, False)  # fmt: skip
    # Emissions are loaded two steps ahead and made weights one step ahead.
    weight, top = _weight(row(e, first + ahead, tag, C, inside & (n > 1), none), LOG)
    raw = row(e, first + 2 * ahead, tag, C, inside & (n > 2), none)
    exponent = 0
    for s in range(1, n):
        pos = first + s * ahead
        later = row(e, pos + 2 * ahead, tag, C, inside & (s + 2 < n), none)
        if VARY:
            m, mv, peak = _matrices(a, v, pos - 1 + reverse, a_t, v_t, reverse, C, P, LOG, PAIRS)
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
        tl.store(scale + 2 * b + reverse, shift + exponent * _LN2)


@jit
def _gold_score(b, e, a, start, end, tags, lengths, T, a_b, a_t, start_b, end_b, C: tl.constexpr):
    """The score of given tags, and whether they are neither a path nor -1 throughout."""
    n = tl.load(lengths + b).to(tl.int32)
    tags += b * T
    y0 = tl.minimum(tl.maximum(tl.load(tags), 0), C - 1)
    y1 = tl.minimum(tl.maximum(tl.load(tags + n - 1), 0), C - 1)
    score = tl.load(start + b * start_b + y0).to(tl.float64) + tl.load(end + b * end_b + y1).to(tl.float64)
    known = 0
    absent = 0
    for base in range(0, n, _GOLD_BLOCK):
        t = base + tl.arange(0, _GOLD_BLOCK)
        ok = t < n
        y = tl.load(tags + t, mask=ok, other=0)
        before = tl.load(tags + t - 1, mask=ok & (t > 0), other=0)
        known += tl.sum((ok & (y >= 0) & (y < C)).to(tl.int32), 0)
        absent += tl.sum((ok & (y == -1)).to(tl.int32), 0)
        y = tl.minimum(tl.maximum(y, 0), C - 1)
        before = tl.minimum(tl.maximum(before, 0), C - 1)
        score += tl.sum(tl.load(e + (b * T + t) * C + y, mask=ok, other=0.0).to(tl.float64), 0)
        pair = a + b * a_b + (t - 1) * a_t + before * C + y
        score += tl.sum(tl.load(pair, mask=ok & (t > 0), other=0.0).to(tl.float64), 0)
    return score, (known < n) & (absent < n)


@jit
def expect_chunk(
    b, chunk, e, a, start, end, u, v, lengths, state, scale, tags, log_z, unary, pairs, flags, bad,
    B, T, span, chunks, a_b, a_t, start_b, end_b, v_b, v_t,
    C: tl.constexpr, P: tl.constexpr, LOG: tl.constexpr, VARY: tl.constexpr, DUAL: tl.constexpr, PAIRS: tl.constexpr,
    GOLD: tl.constexpr, EDGES: tl.constexpr,
):  # fmt: skip
    """Marginals and edges (their sum, unless EDGES) of some steps, or their derivatives, minus gold counts."""
    b = b.to(tl.int64)
    n = tl.load(lengths + b).to(tl.int32)
    tag = tl.arange(0, P)
    inside = tag < C
    i = tag[:, None]
    j = tag[None, :]
    both = (i < C) & (j < C)
    fields = B.to(tl.int64) * T * C
    state += b * T * C
    none = float("-inf") if LOG else 0.0
    a += b * a_b
    v += b * v_b
    m, mv, _ = _matrices(a, v, 0, a_t, v_t, 0, C, P, LOG, False)
    if PAIRS and not VARY:
        mv = tile(v, 0, C, P, 0.0)
    begin = chunk * span
    ok = inside & (begin > 0) & (begin <= n)
    left = row(state + fields, begin - 1, tag, C, ok, none)
    d_left = tl.zeros_like(left)
    if DUAL:
        d_left = row(state + 4 * fields, begin - 1, tag, C, ok, 0.0)
    total = tl.zeros_like(m)
    present = True
    y_left = -1
    if GOLD:
        present = tl.load(tags + b * T) >= 0
        if begin > 0:
            y_left = tl.load(tags + b * T + begin - 1).to(tl.int32)
    damaged = 0
    for t in range(begin, tl.minimum(begin + span, T)):
        ok = inside & (t < n)
        x = row(state, t, tag, C, ok, none)
        y = row(state + fields, t, tag, C, ok, none)
        right = row(state + 2 * fields, t, tag, C, ok, none)
        if VARY:
            linked = (t > 0) & (t < n)
            m, mv, _ = _matrices(a, v, tl.where(linked, t - 1, 0), a_t, v_t, 0, C, P, LOG, False)
            if PAIRS:
                mv = tile(v + tl.where(linked, t - 1, 0) * v_t, 0, C, P, 0.0)
        if LOG:
            z = x + right
            top = finite(tl.max(z, 0))
            z = tl.exp(z - top)
            mass = tl.sum(z, 0)
            posterior = z / tl.where(mass > 0, mass, 1.0)
            norm = top + tl.log(tl.where(mass > 0, mass, 1.0))
            edge = tl.exp(left[:, None] + m + (right - norm)[None, :])
        else:
            z = x * right
            mass = tl.sum(z, 0)
            part = right / tl.where(mass > 0, mass, 1.0)
            posterior = x * part
            edge = left[:, None] * m * part[None, :]
            low = tl.minimum(tl.max(y, 0), tl.max(right, 0))
            sound = (low >= _STEP) & (mass >= _TOTAL) & (mass < float("inf"))
            damaged = tl.where((t < n) & (sound == 0), 1, damaged)
        # Beyond the length, and before the first step, there is no edge; -inf and 0 see to that but for NaN.
        edge = tl.where(both & (t > 0) & (t < n), edge, 0.0)
        if DUAL:
            dx = row(state + 3 * fields, t, tag, C, ok, 0.0)
            dy = row(state + 4 * fields, t, tag, C, ok, 0.0)
            d_right = row(state + 5 * fields, t, tag, C, ok, 0.0)
            if not LOG:  # the derivative of the logarithm
                dx = tl.where(x > 0, dx / tl.where(x > 0, x, 1.0), 0.0)
                dy = tl.where(y > 0, dy / tl.where(y > 0, y, 1.0), 0.0)
                d_right = tl.where(right > 0, d_right / tl.where(right > 0, right, 1.0), 0.0)
            mean = tl.sum(posterior * (dx + d_right), 0)
            posterior = posterior * (dx + d_right - mean)
            slope = d_left[:, None] + (d_right - mean)[None, :]
            if PAIRS:
                slope += mv
            edge = edge * slope
            d_left = dy
        if GOLD:
            live = present & (mass > 0) & (t < n)
            y_right = tl.load(tags + b * T + t).to(tl.int32)
            posterior = tl.where(live, posterior - tl.where(tag == y_right, 1.0, 0.0), 0.0)
            hit = (i == y_left) & (j == y_right) & (t > 0)
            edge = tl.where(live, edge - tl.where(hit, 1.0, 0.0), 0.0)
            y_left = y_right
        tl.store(unary + (b * T + t) * C + tag, tl.where(t < n, posterior, 0.0), mask=inside)
        if EDGES:
            tl.store(pairs + (b * (T - 1) + t - 1) * C * C + i * C + j, edge, mask=both & (t > 0))
        else:
            total += edge
        if (not DUAL) and t == 0:
            if LOG:
                value = tl.where(mass > 0, top + tl.log(mass), float("-inf"))
            else:
                value = tl.log(mass) + tl.load(scale + 2 * b + 1) + finite(
                    tl.max(row(start + b * start_b, 0, tag, C, inside, float("-inf")), 0))  # fmt: skip
            if GOLD:
                score, wrong = _gold_score(b, e, a - b * a_b, start, end, tags, lengths, T, a_b, a_t, start_b, end_b, C)
                value = tl.where(present & (value > float("-inf")), value - score, float("inf"))
                tl.store(bad + b, wrong.to(tl.int32))
            tl.store(log_z + b, value)
        left = y
    if not EDGES:
        tl.store(pairs + (b * chunks + chunk) * C * C + i * C + j, total, mask=both)
    if not LOG:
        tl.store(flags + b * chunks + chunk, damaged)
