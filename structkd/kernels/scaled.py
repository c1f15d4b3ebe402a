"""Scaled exp-space forward-backward in float64 PyTorch: any device, no compiler (derivations in README.md).

Both directions run in one loop: the backward recursion is the forward one on the reversed sentence with transposed
transitions, so a step is one batched matrix product for the two of them. Sentences that leave the range of float64
(underflow, or no legal path) are recognised afterwards and computed again by the reference in log space.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from structkd.kernels.interface import Backend, Expectations, Pairs, Paths, Potentials
from structkd.kernels.reference import Reference, list_viterbi
from structkd.kernels.scores import within

_REFERENCE = Reference()
# A weight is lost below 1e-308. It does not matter as long as what it would be multiplied with, relative to the
# total, stays below this bound: then the mass that is lost is below 1e-18.
_LARGEST_FACTOR = 1e290
# Rescale before the running products can have shrunk by exp(-_SAFE_NATS).
_SAFE_NATS = 300.0


class _Sweep(NamedTuple):
    """A forward-backward pass. Direction 1 is reversed: its step s is step n-1-s of the sentence."""

    weights: Tensor  # [T, 2, B, C] exp(emissions - max) / scale
    steps: Tensor  # [1 or T, G, C, C] exp(transitions - max), G = 2 if shared by the sentences, else 2 B
    before: Tensor  # [T, 2, B, C] products before the step's own emission: beta in direction 1
    after: Tensor  # [T, 2, B, C] before * weights: alpha in direction 0
    mirror: Tensor  # [B, T] n-1-t inside the sentence, t beyond it
    total: Tensor  # [B, T] sum_c alpha_t beta_t, in the scale of each step
    log_partition: Tensor  # [B]
    broken: Tensor | None  # rows to be computed again in log space


def _flip(x: Tensor, mirror: Tensor) -> Tensor:
    """x [T, B, C] with every sentence reversed in its own length."""
    return x.gather(0, mirror.t()[..., None].expand_as(x))


def _own(sweep: _Sweep, which: Tensor, reverse: bool) -> Tensor:
    """One direction of [T, 2, B, C] in the order of the sentence, as [B, T, C]."""
    x = _flip(which[:, 1], sweep.mirror) if reverse else which[:, 0]
    return x.transpose(0, 1)


def _peak(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Maximum over some axes, kept; 0 where all is -inf."""
    peak = x.amax(dims, keepdim=True)
    return torch.where(torch.isneginf(peak), 0, peak)


def _interval(emissions: Tensor, transitions: Tensor) -> int:
    """After how many steps to rescale: a step shrinks by at most the spread of the scores and grows by at most C."""
    spread = -(emissions.amin() + transitions.amin()) if transitions.numel() else -emissions.amin()
    nats = float(spread) + math.log(emissions.shape[-1]) + 1.0
    return int(_SAFE_NATS // nats) if nats < _SAFE_NATS else 1


def _sweep(p: Potentials) -> _Sweep:
    batch, length, num_tags = p.emissions.shape
    inside = within(p.lengths, length)
    time = torch.arange(length, device=inside.device)
    mirror = torch.where(inside, p.lengths[:, None] - 1 - time, time)

    emissions = torch.where(inside[..., None], p.emissions.double(), 0)
    shift = _peak(emissions, (2,))  # [B, T, 1]
    emissions = emissions - shift
    transitions = p.transitions.double()
    if p.by_position:
        transitions = torch.where(inside[:, 1:, None, None], transitions, 0)
    lift = _peak(transitions, (-2, -1)) if transitions.numel() else transitions.new_zeros(*transitions.shape[:-2], 1, 1)
    transitions = transitions - lift
    interval = _interval(emissions, transitions)
    start, end = p.start.double(), p.end.double()
    begin, finish = _peak(start, (-1,)), _peak(end, (-1,))

    forward = emissions.exp().transpose(0, 1)
    weights = torch.stack((forward, _flip(forward, mirror)), 1)  # [T, 2, B, C]
    before, after = torch.empty_like(weights), torch.empty_like(weights)
    before[0, 0], before[0, 1] = (start - begin).exp(), (end - finish).exp()
    torch.mul(before[0], weights[0], out=after[0])
    steps = _directions(transitions.exp(), mirror, p.transitions.dim())
    groups = steps.shape[1]
    rows = (groups, 2 * batch // groups, num_tags)
    scales = after.new_ones(length, 2, batch, 1)
    for s in range(1, length):
        step = steps[s if len(steps) > 1 else 0]
        torch.bmm(after[s - 1].view(rows), step, out=before[s].view(rows))
        torch.mul(before[s], weights[s], out=after[s])
        if s % interval == 0:
            torch.sum(after[s], -1, keepdim=True, out=scales[s])
            after[s].div_(scales[s])
    if interval < length:
        weights = weights / scales

    alpha = after[:, 0].transpose(0, 1)
    beta = _flip(before[:, 1], mirror).transpose(0, 1)
    total = (alpha * beta).sum(-1)  # [B, T]
    last = (p.lengths - 1)[:, None]
    lifts = lift[..., 0, 0].sum(1) if p.by_position else lift[..., 0, 0] * last[:, 0]
    log_scale = torch.where(inside, scales[:, 0, :, 0].log().t(), 0).sum(1)
    log_z = total.gather(1, last)[:, 0].log() + log_scale + shift.sum((1, 2)) + lifts + begin[..., 0] + finish[..., 0]
    largest = torch.maximum(alpha.amax(-1), beta.amax(-1))
    fine = ((total * _LARGEST_FACTOR >= largest) & (total > 0) & torch.isfinite(largest)) | ~inside
    rows_fine = fine.all(1)
    broken = None if bool(rows_fine.all()) else (~rows_fine).nonzero()[:, 0]
    return _Sweep(weights, steps, before, after, mirror, total, log_z, broken)


def _directions(matrix: Tensor, mirror: Tensor, rank: int) -> Tensor:
    """[1 or T, G, C, C]: the matrices of both directions; element s leads to step s."""
    if rank == 2:
        return torch.stack((matrix, matrix.t()))[None]
    if rank == 3:
        return torch.cat((matrix, matrix.transpose(1, 2)))[None]
    # Step s of direction 1 is the pair (n-1-s, n-s) of the sentence; any matrix will do beyond the length.
    pair = mirror[:, 1:, None, None].clamp(max=max(matrix.shape[1] - 1, 0)).expand_as(matrix)
    both = torch.cat((matrix, matrix.transpose(2, 3).gather(1, pair)))  # [2 B, T-1, C, C]
    return torch.cat((both[:, :1], both), 1).transpose(0, 1) if matrix.shape[1] else both.transpose(0, 1)


def _forward_matrix(sweep: _Sweep) -> Tensor:
    """exp(transitions - max) [1 or B, C, C] where it does not depend on the position."""
    return sweep.steps[0, : sweep.steps.shape[1] // 2]


def _pairs(p: Potentials, sweep: _Sweep, left: Tensor, right: Tensor, edges: bool) -> Tensor:
    """sum_t left_t[i] M_t[i, j] right_t+1[j] for [B, T, C] vectors, or its terms [B, T-1, C, C]; left is masked."""
    if edges or p.by_position:
        outer = left[:, :-1, :, None] * right[:, 1:, None, :]
        if p.by_position:
            return outer * sweep.steps[1:, : len(left)].transpose(0, 1)
        return outer * _forward_matrix(sweep)[:, None]
    return torch.bmm(left[:, :-1].transpose(1, 2), right[:, 1:]) * _forward_matrix(sweep)


class Scaled(Backend):
    """Scaled float64 PyTorch on any device."""

    name = "torch"

    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        sweep = _sweep(p)
        inside = within(p.lengths, p.emissions.shape[1])[..., None]
        alpha, beta = _own(sweep, sweep.after, False), _own(sweep, sweep.before, True)
        arriving = _own(sweep, sweep.after, True)
        left = torch.where(inside, alpha / sweep.total[..., None], 0)
        marginals = left * beta
        followed = torch.nn.functional.pad(inside[:, 1:], (0, 0, 0, 1))
        dtype = p.emissions.dtype
        found = [sweep.log_partition.to(dtype), marginals.to(dtype)]
        if pairs != "none":
            found.append(_pairs(p, sweep, torch.where(followed, left, 0), arriving, pairs == "edges").to(dtype))
        if sweep.broken is not None:
            exact = _REFERENCE.expectations(p.rows(sweep.broken), pairs)
            for mine, theirs in zip(found, exact, strict=False):
                mine[sweep.broken] = theirs
        return Expectations(found[0], found[1], found[2] if len(found) > 2 else None, sweep if keep else None)

    def directional(
        self, p: Potentials, unary: Tensor | None, pairs: Tensor | None, state: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Dual numbers: alpha and beta are carried along with their derivatives, both directions in one loop."""
        sweep: _Sweep = _sweep(p) if state is None else state
        batch, length, num_tags = p.emissions.shape
        inside = within(p.lengths, length)[..., None]
        total = sweep.total[..., None]
        alpha, beta = _own(sweep, sweep.after, False), _own(sweep, sweep.before, True)
        arriving = _own(sweep, sweep.after, True)
        followed = torch.nn.functional.pad(inside[:, 1:], (0, 0, 0, 1))
        left = torch.where(followed, alpha / total, 0)
        marginals = torch.where(inside, alpha / total, 0) * beta

        # The direction, centred step by step by its own expectation: a constant changes no derivative, and the
        # running sums stay small.
        u = torch.zeros_like(marginals) if unary is None else torch.where(inside, unary.double(), 0)
        u = u - (marginals * u).sum(-1, keepdim=True)
        rows = (sweep.steps.shape[1], 2 * batch // sweep.steps.shape[1], num_tags)
        by_edge = pairs is not None and pairs.dim() == 4
        pulled = v = None
        if pairs is not None and length > 1:
            v = torch.where(inside[:, 1:, :, None], pairs.double(), 0) if by_edge else pairs.double()
            steps = sweep.steps if rows[0] == 2 * batch else sweep.steps.repeat_interleave(batch, 1)
            pulling = _directions(v, sweep.mirror, v.dim()) * steps
            moved = sweep.after[:-1].reshape(length - 1, 2 * batch, 1, num_tags)
            pulled = (moved @ pulling[-(length - 1) :]).view(length - 1, 2, batch, num_tags)
            here = pulled[:, 0].transpose(0, 1)  # [B, T-1, C]
            mean = (here * arriving[:, 1:]).sum(-1, keepdim=True) / total[:, :-1]
            u[:, 1:] -= torch.where(inside[:, 1:], mean, 0)
        both = u.transpose(0, 1)
        dual = torch.stack((both, _flip(both, sweep.mirror)), 1) * sweep.after  # its own step's share
        if pulled is not None:
            dual[1:] += sweep.weights[1:] * pulled
        before = torch.zeros_like(dual)
        for s in range(1, length):
            step = sweep.steps[s if len(sweep.steps) > 1 else 0]
            torch.bmm(dual[s - 1].view(rows), step, out=before[s].view(rows))
            dual[s].addcmul_(before[s], sweep.weights[s])
        if pulled is not None:
            before[1:] += pulled

        d_alpha, d_beta = _own(sweep, dual, False), _own(sweep, before, True)
        d_arriving = _own(sweep, dual, True)
        d_marginals = torch.where(inside, (d_alpha * beta + alpha * d_beta) / total, 0)
        d_left = torch.where(followed, d_alpha / total, 0)
        d_pairs = _pairs(p, sweep, d_left, arriving, by_edge) + _pairs(p, sweep, left, d_arriving, by_edge)
        if v is not None:
            d_pairs = d_pairs + v * _pairs(p, sweep, left, arriving, by_edge)
        if by_edge and not p.by_position:
            d_pairs = d_pairs.sum(1)
        dtype = p.emissions.dtype
        d_marginals, d_pairs = d_marginals.to(dtype), d_pairs.to(dtype)
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
