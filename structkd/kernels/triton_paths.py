"""Best paths, samples and counts of paths in Triton: one program for a sentence (or some of its samples or steps).

Viterbi runs backward, so that the path is then followed forward from the best completion of every step (``onward``)
and its pointer. The further best paths are deviations from the ones before them: a path that leaves path m at step t
for tag c, and goes on in the best way, scores the score of m minus a regret that depends on the tag before t and on
c alone. A path offers its own steps after the one where it was born, and each step offers its tags in the order of
(score, tag), so no path comes twice and nothing has to be remembered but the last tag taken. O(T C^2 + k T (C + k)).
"""
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from structkd.kernels.triton_language import given, jit, kernel, row, tile, tl
from structkd.kernels.triton_scores import read_row

_BLOCK = tl.constexpr(512)


@kernel("T mask_b mask_t a_b a_t start_b end_b tags_b scores_b swap")
def viterbi(
    e, a, start, end, lengths, mask, onward, pointers, tags, scores,
    T, mask_b, mask_t, a_b, a_t, start_b, end_b, tags_b, scores_b, swap,
    C: tl.constexpr, P: tl.constexpr, VARY: tl.constexpr, KEEP: tl.constexpr, MASKED: tl.constexpr, FACTS: tl.constexpr,
):  # fmt: skip
    """Grid [B]: the best path, its score, and the pointers [B, T, C]; best completions too if KEEP.

    The length is that of ``lengths``, or what the mask says if MASKED. With FACTS the length and the facts about the
    mask stand behind the T tags: n % 128, n / 128 and the facts, so that the host reads everything at once. ``swap`` is
    1, and the compiler must not know (see ``tile``).
    """
    b = tl.program_id(0).to(tl.int64)
    fact = 0
    if MASKED:
        n, fact = read_row(mask + b * mask_b, T, mask_t)
        count = n
        n = tl.maximum(n, 1)
    else:
        n = tl.load(lengths + b).to(tl.int32)
        count = n
    tag = tl.arange(0, P)
    inside = tag < C
    none = float("-inf")
    e += b * T * C
    a += b * a_b
    onward += b * T * C
    pointers += b * T * C
    tags += b * tags_b
    best = row(end + b * end_b, 0, tag, C, inside, none)
    if not VARY:
        m = tile(a, swap, C, P, none)
    # Emissions come from far away: they are loaded four steps ahead.
    e1 = row(e, n - 1, tag, C, inside, none)
    e2 = row(e, n - 2, tag, C, given(n > 1, tag, C), none)
    e3 = row(e, n - 3, tag, C, given(n > 2, tag, C), none)
    e4 = row(e, n - 4, tag, C, given(n > 3, tag, C), none)
    for s in range(1, n):
        t = n - 1 - s
        later = row(e, t - 3, tag, C, given(t > 2, tag, C), none)
        if VARY:
            m = tile(a + t * a_t, swap, C, P, none)
        if KEEP:
            tl.store(onward + (t + 1) * C + tag, best, mask=inside)
        best, pointer = tl.max(m + (best + e1)[:, None], 0, return_indices=True)
        tl.store(pointers + t * C + tag, pointer, mask=inside)
        e1 = e2
        e2 = e3
        e3 = e4
        e4 = later
    if KEEP:
        tl.store(onward + tag, best, mask=inside)
    first = row(start + b * start_b, 0, tag, C, inside, none)
    score, y = tl.max(first + (best + e1), 0, return_indices=True)
    if not FACTS:
        tl.store(scores + b * scores_b, score)
    tl.debug_barrier()
    exists = score > none
    # So are rows of pointers: before it is known which of them is wanted.
    p1 = tl.load(pointers + tag, mask=given(n > 1, tag, C), other=0)
    p2 = tl.load(pointers + C + tag, mask=given(n > 2, tag, C), other=0)
    p3 = tl.load(pointers + 2 * C + tag, mask=given(n > 3, tag, C), other=0)
    for t in range(n):
        later = tl.load(pointers + (t + 3) * C + tag, mask=given(t + 4 < n, tag, C), other=0)
        tl.store(tags + t, tl.where(exists, y, -1).to(tl.int64))
        y = tl.sum(tl.where(tag == y, p1, 0), 0)
        p1 = p2
        p2 = p3
        p3 = later
    if FACTS:
        tl.store(tags + T, count % 128)
        tl.store(tags + T + 1, count // 128)
        tl.store(tags + T + 2, fact)


@jit
def _offers(e, a, start, onward, tags, t, ok, whole, best, a_t, C: tl.constexpr, P: tl.constexpr):
    """Scores [steps, P] of leaving a path of score ``whole`` at some steps for every tag; -inf for its own tag."""
    tag = tl.arange(0, P)[None, :]
    inside = ok[:, None] & (tag < C)
    none = float("-inf")
    own = tl.load(tags + t, mask=ok, other=0).to(tl.int32)
    before = tl.load(tags + t - 1, mask=ok & (t > 0), other=0).to(tl.int32)
    # The best score from the tag before; before the first step it is the best score of all.
    done = tl.where(t > 0, tl.load(onward + (t - 1) * C + before, mask=ok & (t > 0), other=0.0), best)
    pair = a + tl.where(t > 0, t - 1, 0)[:, None] * a_t + before[:, None] * C + tag
    link = tl.load(pair, mask=inside & (t > 0)[:, None], other=0.0).to(tl.float64)
    link += tl.load(start + tag, mask=inside & (t == 0)[:, None], other=0.0).to(tl.float64)
    at = t[:, None] * C + tag
    unary = tl.load(e + at, mask=inside, other=none).to(tl.float64)
    rest = tl.load(onward + at, mask=inside, other=none)
    return tl.where(tag == own[:, None], none, whole - (done[:, None] - (link + (rest + unary))))


@kernel("T k a_b a_t start_b")
def deviate(
    e, a, start, lengths, onward, pointers, tags, scores, offers, choices, T, k, a_b, a_t, start_b,
    C: tl.constexpr, P: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Grid [B]: paths 1 to k-1 after path 0; those that do not exist are left as they are.

    Args:
        offers, choices: Workspace [B, k, T]: the best score still to be had by leaving path m at step t, and the tag.
    """
    b = tl.program_id(0).to(tl.int64)
    n = tl.load(lengths + b).to(tl.int32)
    tag = tl.arange(0, P)
    none = float("-inf")
    e += b * T * C
    a += b * a_b
    start += b * start_b
    onward += b * T * C
    pointers += b * T * C
    tags += b * k * T
    scores += b * k
    offers += b * k * T
    choices += b * k * T
    best = tl.load(scores)
    whole = best
    born = -1  # where the newest path left its parent; path 0 has none
    m = 0
    open_ = whole > none
    while open_ & (m + 1 < k):
        for base in range(0, T, STEPS):
            t = base + tl.arange(0, STEPS)
            ok = (t > born) & (t < n)
            value, choice = tl.max(
                _offers(e, a, start, onward, tags + m * T, t, ok, whole, best, a_t, C, P), 1, return_indices=True
            )
            tl.store(offers + m * T + t, tl.where(ok, value, none), mask=t < T)
            tl.store(choices + m * T + t, choice, mask=t < T)
        tl.debug_barrier()
        whole = tl.full([], float("-inf"), tl.float64)
        at = 0
        for base in range(0, (m + 1) * T, _BLOCK):
            cell = base + tl.arange(0, _BLOCK)
            value, index = tl.max(tl.load(offers + cell, mask=cell < (m + 1) * T, other=none), 0, return_indices=True)
            at = tl.where(value > whole, base + index, at)
            whole = tl.maximum(whole, value)
        open_ = whole > none
        if open_:
            parent = at // T
            born = at % T
            y = tl.load(choices + at)
            # The parent's next offer at this step: after (whole, y) in the order of score and tag.
            t = born + tl.arange(0, STEPS)
            ok = t == born
            left = tl.load(scores + parent)
            values = _offers(e, a, start, onward, tags + parent * T, t, ok, left, best, a_t, C, P)
            taken = (values > whole) | ((values == whole) & (tag[None, :] <= y))
            value, choice = tl.max(tl.where(taken, none, values), 1, return_indices=True)
            tl.store(offers + parent * T + t, value, mask=ok)
            tl.store(choices + parent * T + t, choice, mask=ok)
            m += 1
            tl.store(scores + m, whole)
            for base in range(0, born, STEPS):
                t = base + tl.arange(0, STEPS)
                kept = tl.load(tags + parent * T + t, mask=t < born, other=0)
                tl.store(tags + m * T + t, kept, mask=t < born)
            for step in range(born, n):
                tl.store(tags + m * T + step, y.to(tl.int64))
                y = tl.load(pointers + step * C + y, mask=step + 1 < n, other=0)
            tl.debug_barrier()


@kernel("T samples a_b a_t start_b")
def draw(
    a, start, lengths, arriving, uniforms, tags, T, samples, a_b, a_t, start_b,
    C: tl.constexpr, P: tl.constexpr, DRAWS: tl.constexpr,
):  # fmt: skip
    """Grid [B, samples / DRAWS]: tags from p(y_t | y_t-1), with the backward log-products ``arriving`` [B, T, C]."""
    b = tl.program_id(0).to(tl.int64)
    n = tl.load(lengths + b).to(tl.int32)
    draws = tl.program_id(1) * DRAWS + tl.arange(0, DRAWS)
    ok = draws < samples
    tag = tl.arange(0, P)
    inside = tag < C
    none = float("-inf")
    a += b * a_b
    arriving += b * T * C
    at = (b * samples + draws) * T
    link = row(start + b * start_b, 0, tag, C, inside, none)[None, :] + tl.zeros([DRAWS, P], tl.float64)
    y = tl.zeros([DRAWS], tl.int32)
    exists = True
    for t in range(n):
        if t > 0:
            pair = a + (t - 1) * a_t + y[:, None] * C + tag[None, :]
            link = tl.load(pair, mask=inside[None, :], other=none).to(tl.float64)
        weight = link + row(arriving, t, tag, C, inside, none)[None, :]
        top = tl.max(weight, 1)
        exists = exists & (tl.max(top, 0) > none)
        top = tl.where(top > none, top, 0.0)
        weight = tl.exp(weight - top[:, None])
        below = tl.cumsum(weight, 1)
        total = tl.max(below, 1)
        uniform = tl.load(uniforms + at + t, mask=ok, other=0.0) * total
        passed = (below <= uniform[:, None]) & (below < total[:, None])
        y = tl.sum(passed.to(tl.int32), 1)
        tl.store(tags + at + t, tl.where(exists, y, -1).to(tl.int64), mask=ok)


@kernel("T k span chunks")
def count(
    tags, weights, lengths, unary, pairs, T, k, span, chunks, C: tl.constexpr, P: tl.constexpr, EDGES: tl.constexpr
):
    """Grid [B, chunks]: weighted counts of tags and pairs on paths [B, k, T] over some steps."""
    b = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    n = tl.load(lengths + b).to(tl.int32)
    tag = tl.arange(0, P)
    i = tag[:, None]
    j = tag[None, :]
    both = (i < C) & (j < C)
    total = tl.zeros([P, P], tl.float64)
    for t in range(chunk * span, tl.minimum(chunk * span + span, T)):
        here = tl.zeros([P], tl.float64)
        if EDGES:
            total = tl.zeros([P, P], tl.float64)
        for path in range(k):
            at = tags + (b * k + path) * T
            weight = tl.load(weights + b * k + path).to(tl.float64)
            weight = tl.where((tl.load(at) >= 0) & (t < n), weight, 0.0)
            right = tl.load(at + t).to(tl.int32)
            left = tl.load(at + t - 1, mask=t > 0, other=-1).to(tl.int32)
            here += tl.where(tag == right, weight, 0.0)
            total += tl.where((i == left) & (j == right), weight, 0.0)
        tl.store(unary + (b * T + t) * C + tag, here, mask=tag < C)
        if EDGES:
            tl.store(pairs + (b * (T - 1) + t - 1) * C * C + i * C + j, total, mask=given(t > 0, i, C) & (j < C))
    if not EDGES:
        tl.store(pairs + (b * chunks + chunk) * C * C + i * C + j, total, mask=both)
