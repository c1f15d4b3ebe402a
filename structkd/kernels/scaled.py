"""Scaled exp-space forward-backward in float64 PyTorch: any device, no compiler (derivations in README.md).

Both directions run in one loop: the backward recursion is the forward one on the reversed sentence with transposed
transitions, so a step is one batched matrix product for the two of them. Sentences that leave the range of float64
(underflow, or no legal path) are recognised afterwards and computed again by the reference in log space.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from structkd.kernels import scores
from structkd.kernels.interface import Backend, Expectations, Pairs, Paths, Potentials
from structkd.kernels.reference import Reference, list_viterbi

_REFERENCE = Reference()
# A weight is lost below 1e-308. It does not matter as long as what it would be multiplied with, relative to the
# total, stays below this bound: then the mass that is lost is below 1e-18.
_LARGEST_FACTOR = 1e290
_NONE = -1e300  # instead of -inf, where a number is taken out of everything
_LEAST_ALPHA = 1e-290  # a smaller one may have lost a prefix
# Memory of one call, used again by the next one: fresh pages can cost more than the arithmetic on them.
_workspace = threading.local()
_LARGEST_WORKSPACE = 8 << 20  # numbers that are kept between calls


def _rows(device: torch.device, steps: int, batch: int, num_tags: int, keep: bool) -> list[Tensor]:
    """Room for emissions, shares, beta, arriving, two spare ones [T, B, C], and weights, before, after [T, B, 2, C]."""
    size = steps * batch * num_tags
    flat: Tensor | None = None if keep else getattr(_workspace, "flat", None)
    if flat is None or flat.numel() < 12 * size or flat.device != device:
        flat = torch.empty(12 * size, dtype=torch.float64, device=device)
        if not keep and flat.numel() <= _LARGEST_WORKSPACE:
            _workspace.flat = flat
    *single, a, b, c = flat[: 12 * size].split([size] * 6 + [2 * size] * 3)
    return [x.view(steps, batch, num_tags) for x in single] + [x.view(steps, batch, 2, num_tags) for x in (a, b, c)]


class _Sweep(NamedTuple):
    """A forward-backward pass, time first. Direction 1 is reversed: its step s is step n-1-s of the sentence."""

    weights: Tensor  # [T, B, 2, C] exp(emissions) / (their sum, and the scale of the step)
    matrices: Tensor  # [C, C], [B, C, C] or [B, T-1, C, C] exp(transitions) / their mean
    steps: Tensor  # the same for both directions at once, see _directions
    before: Tensor  # [T, B, 2, C] products before the step's own emission: beta in direction 1
    after: Tensor  # [T, B, 2, C] before * weights: alpha in direction 0
    reversal: Tensor  # [T * B] rows of direction 1, in the order of the sentence
    mirror: Tensor  # [T, B] n-1-t inside the sentence, t beyond it
    inside: Tensor  # [T, B, 1]
    beyond: Tensor  # [T, B, 1] what is not inside
    beta: Tensor  # [T, B, C]
    arriving: Tensor  # [T, B, C] beta with the step's own weight
    spare: tuple[Tensor, Tensor]  # room for two more
    total: Tensor  # [T, B, 1] sum_c alpha_t beta_t, in the scale of each step; inf beyond the length
    log_partition: Tensor  # [B]
    broken: Tensor | None  # rows to be computed again in log space

    @property
    def alpha(self) -> Tensor:
        """[T, B, C]"""
        return self.after[:, :, 0]


def _sweep(p: Potentials, *, keep: bool = False) -> _Sweep:
    """Forward-backward; the result lasts until the next one of this thread, or as long as it is referred to (keep)."""
    batch, length, num_tags = p.emissions.shape
    device = p.emissions.device
    room = _rows(device, length, batch, num_tags, keep)
    emissions, shares, beta, arriving, *spare, weights, before, after = room
    last = p.lengths - 1
    time, sentence = torch.arange(length, device=device)[:, None], torch.arange(batch, device=device)
    inside, beyond = time <= last, time > last
    mirror = torch.where(inside, last - time, time)
    # Beyond its end a sentence repeats steps that it has: what comes of them is never used, but it is a number.
    rows = torch.stack((torch.minimum(time, last), mirror.clamp(max=last)), 2) + (sentence * length)[:, None]
    emissions = emissions.view(batch, length, num_tags).copy_(p.emissions)
    peak = emissions.amax(-1, keepdim=True)
    shares = torch.sub(emissions, peak, out=shares.view(batch, length, num_tags)).exp_()  # softmax is 3 times slower
    sums = shares.sum(-1, keepdim=True)
    shares.div_(sums)
    torch.index_select(shares.view(-1, num_tags), 0, rows.flatten(), out=weights.view(-1, num_tags))
    transitions = p.transitions.double()
    if p.by_position:
        transitions = torch.where(inside.t()[:, 1:, None, None], transitions, 0)
    lift = (transitions.flatten(-2).logsumexp(-1) - 2 * math.log(num_tags)).clamp_min_(_NONE)
    matrices = (transitions - lift[..., None, None]).exp_()
    steps = _directions(matrices, mirror.t())
    before[0, :, 0], before[0, :, 1] = p.start.double().exp(), p.end.double().exp()
    reversal = ((mirror * batch + sentence) * 2 + 1).flatten()

    # Weights and matrices are normalised, so products drift slowly and seldom leave the range of float64.
    scale_logs = None
    _recur(weights, steps, before, after, None)
    total, broken = _totals(before, after, weights, matrices, reversal, beyond, beta, spare[0])
    if broken is not None:
        scales = weights.new_ones(length, batch, 2, 1)
        _recur(weights, steps, before, after, scales)
        total, broken = _totals(before, after, weights, matrices, reversal, beyond, beta, spare[0])
        weights = weights.div_(scales)
        scale_logs = torch.where(inside, scales[:, :, 0, 0].log(), 0).sum(0)
    shifts = sums.log_().add_(peak)[..., 0].t().masked_fill_(beyond, 0).sum(0)
    log_z = total[last, sentence, 0].log() + shifts + (lift.sum(1) if p.by_position else lift * last)
    if scale_logs is not None:
        log_z = log_z + scale_logs
    _ordered(after, reversal, arriving)
    rest = (beta, arriving, (spare[0], spare[1]), total, log_z, broken)
    return _Sweep(
        weights, matrices, steps, before, after, reversal, mirror, inside[..., None], beyond[..., None], *rest
    )


def _recur(weights: Tensor, steps: Tensor, before: Tensor, after: Tensor, scales: Tensor | None) -> None:
    """Fill before and after [T, B, 2, C], rescaled at every step if scales [T, B, 2, 1] are there to be filled too."""
    length = len(weights)
    torch.mul(before[0], weights[0], out=after[0])
    multiply, matrices, (products, states, factors) = _views(steps, before, after, weights)
    for s in range(1, length):
        multiply(states[s - 1], matrices[s], out=products[s])
        torch.mul(products[s], factors[s], out=states[s])
        if scales is not None:
            torch.sum(after[s], -1, keepdim=True, out=scales[s]).clamp_(min=1e-300)  # nothing stays nothing
            after[s].div_(scales[s])


def _totals(
    before: Tensor,
    after: Tensor,
    weights: Tensor,
    matrices: Tensor,
    reversal: Tensor,
    beyond: Tensor,
    beta: Tensor,
    spare: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """sum_c alpha beta, filling beta; and in which sentences underflow may have cost something, or no path is legal."""
    alpha = after[:, :, 0]
    _ordered(before, reversal, beta)
    beyond = beyond[..., None]
    total = torch.mul(alpha, beta, out=spare).sum(-1, keepdim=True).masked_fill_(beyond, torch.inf)
    low, high = after.amin().item(), max(before.amax().item(), 1.0)  # of alpha too: weights, or else sums, are up to 1
    if low >= _LEAST_ALPHA and math.isfinite(high * high) and total.amin().item() * _LARGEST_FACTOR >= high:
        return total, None
    largest = torch.maximum(alpha.amax(-1, keepdim=True), beta.amax(-1, keepdim=True))
    fine = (total > 0) & (total * _LARGEST_FACTOR >= largest) & torch.isfinite(total) & torch.isfinite(largest)
    fine &= ~_has_lost(before[0, :, 0], alpha, weights[:, :, 0], matrices)
    broken = (~(fine | beyond).all(0)[:, 0]).nonzero()[:, 0]
    return total, broken if len(broken) else None


def _has_lost(first: Tensor, alpha: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    """Where alpha [T, B, C] may have lost a prefix [T, B, 1]: it is small though some way leads there."""
    small = (alpha < _LEAST_ALPHA) & (weights > 0)
    small[0] &= first > 0
    step, sentence = small[1:].any(-1).nonzero(as_tuple=True)
    before = (alpha[step, sentence] > 0).double()
    if matrices.dim() == 2:
        ways = before @ (matrices > 0).double()
    else:
        own = matrices[sentence] if matrices.dim() == 3 else matrices[sentence, step]
        ways = (before[:, None] @ (own > 0).double())[:, 0]
    small[step + 1, sentence] &= ways > 0
    return small.any(-1, keepdim=True)


def _ordered(x: Tensor, reversal: Tensor, out: Tensor) -> Tensor:
    """Direction 1 of [T, B, 2, C] in the order of the sentence [T, B, C]."""
    num_tags = x.shape[-1]
    torch.index_select(x.view(-1, num_tags), 0, reversal, out=out.view(-1, num_tags))
    return out


def _directions(matrix: Tensor, mirror: Tensor) -> Tensor:
    """Matrices [C, C], [B, C, C] or [B, T-1, C, C] for both directions at once; element s leads to step s.

    Shared ones become a block-diagonal [1, 2 C, 2 C], because one plain product costs less than a batch of two; the
    others [1 or T, 2 B, C, C]. mirror is [B, T].
    """
    if matrix.dim() == 2:
        return torch.block_diag(matrix, matrix.t())[None]
    if matrix.dim() == 3:
        return torch.stack((matrix, matrix.transpose(1, 2)), 1).flatten(0, 1)[None]
    # Step s of direction 1 is the pair (n-1-s, n-s) of the sentence; any matrix will do beyond the length.
    pair = mirror[:, 1:, None, None].clamp(max=max(matrix.shape[1] - 1, 0)).expand_as(matrix)
    both = torch.stack((matrix, matrix.transpose(2, 3).gather(1, pair)), 1).flatten(0, 1)  # [2 B, T-1, C, C]
    return torch.cat((both[:, :1], both), 1).transpose(0, 1) if matrix.shape[1] else both.transpose(0, 1)


def _views(steps: Tensor, *states: Tensor) -> tuple[Any, Sequence[Tensor], list[Sequence[Tensor]]]:
    """The product of a step, the matrix of each step, and each of the [T, B, 2, C] step by step, shaped for it.

    All views at once: taking them one by one would cost as much as the arithmetic.
    """
    length, batch, _, num_tags = states[0].shape
    shared = steps.dim() == 3
    shape = (length, batch, 2 * num_tags) if shared else (length, 2 * batch, 1, num_tags)
    matrices = steps.unbind(0) if len(steps) > 1 else steps.unbind(0) * length
    return torch.mm if shared else torch.bmm, matrices, [x.view(shape).unbind(0) for x in states]


def _pairs(p: Potentials, sweep: _Sweep, left: Tensor, right: Tensor, edges: bool) -> Tensor:
    """sum_t left_t[i] M_t[i, j] right_t+1[j] for [T, B, C] vectors, or its terms [B, T-1, C, C]; left is changed."""
    left = left[:-1].masked_fill_(sweep.beyond[1:], 0).transpose(0, 1)
    right = right[1:].transpose(0, 1)
    if not (edges or p.by_position):
        return torch.bmm(left.transpose(1, 2), right).mul_(sweep.matrices)
    matrices = sweep.matrices if sweep.matrices.dim() != 3 else sweep.matrices[:, None]
    return left[..., :, None] * right[..., None, :] * matrices


def _batch_first(x: Tensor, dtype: torch.dtype) -> Tensor:
    """[T, B, C] as [B, T, C] of the caller's dtype."""
    return x.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format, copy=True)


def _expect(p: Potentials, sweep: _Sweep, pairs: Pairs, sign: float = 1.0) -> tuple[Tensor, Tensor, Tensor | None]:
    """log Z in float64, and the expectations in the caller's dtype, times a sign."""
    dtype = p.emissions.dtype
    left = torch.div(sweep.alpha, sign * sweep.total, out=sweep.spare[0])
    marginals = _batch_first(torch.mul(left, sweep.beta, out=sweep.spare[1]), dtype)
    log_z, found = sweep.log_partition, None
    if pairs != "none":
        found = _pairs(p, sweep, left, sweep.arriving, pairs == "edges").to(dtype)
    if sweep.broken is not None:
        exact = _REFERENCE.expectations(p.rows(sweep.broken).double(), pairs)
        log_z[sweep.broken] = exact.value
        marginals[sweep.broken] = sign * exact.marginals.to(dtype)
        if found is not None and exact.pairs is not None:
            found[sweep.broken] = sign * exact.pairs.to(dtype)
    return log_z, marginals, found


class Scaled(Backend):
    """Scaled float64 PyTorch on any device."""

    name = "torch"

    @torch.no_grad()
    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        sweep = _sweep(p, keep=keep)
        log_z, marginals, found = _expect(p, sweep, pairs)
        return Expectations(log_z.to(p.emissions.dtype), marginals, found, sweep if keep else None)

    @torch.no_grad()
    def log_likelihood(self, p: Potentials, tags: Tensor) -> Expectations:
        paths = tags[:, None]
        self.check_tags(p, paths)
        log_z, unary, pairs = _expect(p, _sweep(p), "counts", sign=-1.0)
        assert pairs is not None
        absent = torch.isneginf(log_z) | (tags[:, 0] < 0)
        index = scores.index_of(p, paths)
        value = scores.indexed_scores(p, index)[:, 0] - log_z
        if bool(absent.any()):
            unary[absent], pairs[absent], value[absent] = 0, 0, -torch.inf
        scores.add_path_counts(index, (~absent).to(unary.dtype)[:, None], p, unary, pairs)
        return Expectations(value.to(p.emissions.dtype), unary, pairs)

    @torch.no_grad()
    def directional(
        self, p: Potentials, unary: Tensor | None, pairs: Tensor | None, state: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Dual numbers: alpha and beta are carried along with their derivatives, both directions in one loop."""
        sweep: _Sweep = _sweep(p) if state is None else state
        inside, beta, arriving = sweep.inside, sweep.beta, sweep.arriving
        left = sweep.alpha / sweep.total

        # The direction, centred step by step by its own expectation: a constant changes no derivative, and the
        # running sums stay small.
        u = torch.zeros_like(beta) if unary is None else torch.where(inside, unary.transpose(0, 1).double(), 0)
        u -= (left * beta * u).sum(-1, keepdim=True)
        by_edge = pairs is not None and pairs.dim() == 4
        pulled = v = None
        if pairs is not None and len(u) > 1:
            v = torch.where(inside.transpose(0, 1)[:, 1:, :, None], pairs.double(), 0) if by_edge else pairs.double()
            pulled = _pull(sweep, v)
            mean = (pulled[:, :, 0] * arriving[1:]).sum(-1, keepdim=True) / sweep.total[:-1]
            u[1:] -= torch.where(inside[1:], mean, 0)
        dual = torch.stack((u, u.gather(0, sweep.mirror[..., None].expand_as(u))), 2) * sweep.after
        if pulled is not None:
            dual[1:] += sweep.weights[1:] * pulled
        before = _recur_dual(dual, sweep)
        if pulled is not None:
            before[1:] += pulled

        dtype = p.emissions.dtype
        d_left, d_arriving = dual[:, :, 0] / sweep.total, _ordered(dual, sweep.reversal, torch.empty_like(beta))
        d_beta = _ordered(before, sweep.reversal, torch.empty_like(beta))
        d_marginals = _batch_first(torch.where(inside, d_left * beta + left * d_beta, 0), dtype)
        d_pairs = _pairs(p, sweep, d_left, arriving, by_edge) + _pairs(p, sweep, left, d_arriving, by_edge)
        if v is not None:
            d_pairs = d_pairs + v * _pairs(p, sweep, left, arriving, by_edge)
        if by_edge and not p.by_position:
            d_pairs = d_pairs.sum(1)
        d_pairs = d_pairs.to(dtype)
        if sweep.broken is not None:
            some = [None if x is None else x[sweep.broken] for x in (unary, pairs)]
            exact = _REFERENCE.directional(p.rows(sweep.broken), some[0], some[1])
            d_marginals[sweep.broken], d_pairs[sweep.broken] = exact
        return d_marginals, d_pairs

    def topk(self, p: Potentials, k: int) -> Paths:
        """Maxima need no scaling: the textbook's list Viterbi is the fast one too."""
        return list_viterbi(p, k)

    def sample(self, p: Potentials, uniforms: Tensor) -> Tensor:
        return _REFERENCE.sample(p, uniforms)


def _pull(sweep: _Sweep, v: Tensor) -> Tensor:
    """Where a direction of the transitions, in float64, enters the two recursions: after_s-1 (M * v) [T-1, B, 2, C]."""
    length, batch, _, num_tags = sweep.after.shape
    matrices = sweep.matrices if v.dim() == 3 or sweep.matrices.dim() != 3 else sweep.matrices[:, None]
    pulling = _directions(v * matrices, sweep.mirror.t())
    moved = sweep.after[:-1].reshape(length - 1, 2 * batch, 1, num_tags)
    return (moved @ pulling[-(length - 1) :]).view(length - 1, batch, 2, num_tags)


def _recur_dual(dual: Tensor, sweep: _Sweep) -> Tensor:
    """Carry dual [T, B, 2, C] along in place; returns the products before each step's own weight."""
    before = torch.zeros_like(dual)
    multiply, matrices, (products, states, factors) = _views(sweep.steps, before, dual, sweep.weights)
    for s in range(1, len(dual)):
        multiply(states[s - 1], matrices[s], out=products[s])
        states[s].addcmul_(products[s], factors[s])
    return before
