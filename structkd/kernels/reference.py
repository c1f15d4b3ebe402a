"""The textbook: log-space recursions in float64, one step after the other, differentiated by PyTorch.

This file is the truth that the other backends are compared with. It may be slow, it may not be clever.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from structkd.kernels import scores
from structkd.kernels.interface import Backend, Expectations, Pairs, Paths, Potentials

# An impossible step weighs exp(-1e30) = 0, and unlike -inf it has derivatives: those of exp(-1e30), which are 0.
_IMPOSSIBLE = -1e30


def _exact(p: Potentials) -> Potentials:
    """float64, transitions [B, T-1, C, C], start and end [B, C], finite; 0 beyond the length."""
    batch, length, num_tags = p.emissions.shape
    transitions = p.transitions.double()
    if transitions.dim() < 4:
        transitions = transitions.unsqueeze(-3).expand(batch, length - 1, num_tags, num_tags)
    inside = scores.within(p.lengths, length)
    emissions = torch.where(inside[..., None], p.emissions.double(), 0)
    transitions = torch.where(inside[:, 1:, None, None], transitions, 0)
    start, end = (x.double().expand(batch, num_tags) for x in (p.start, p.end))
    finite = (torch.where(torch.isneginf(x), _IMPOSSIBLE, x) for x in (emissions, transitions, start, end))
    return Potentials._make((*finite, p.lengths))


def _forward(p: Potentials) -> Tensor:
    """The forward algorithm on exact potentials: log Z [B]."""
    # One unbind, because the derivative of x[:, t] is as large as x, at every step.
    emissions, transitions = p.emissions.unbind(1), p.transitions.unbind(1)
    alpha = p.start + emissions[0]  # [B, C]
    for t in range(1, len(emissions)):
        step = alpha[:, :, None] + transitions[t - 1] + emissions[t][:, None, :]  # [B, from, to]
        alpha = torch.where((t < p.lengths)[:, None], step.logsumexp(1), alpha)
    log_z = (alpha + p.end).logsumexp(1)
    return torch.where(log_z > _IMPOSSIBLE / 2, log_z, -torch.inf)


def _backward(p: Potentials) -> Tensor:
    """The backward algorithm on exact potentials: beta [B, T, C], without the step's own emission."""
    length = p.emissions.shape[1]
    betas = [p.end] * length
    for t in range(length - 2, -1, -1):
        step = p.transitions[:, t] + (p.emissions[:, t + 1] + betas[t + 1])[:, None, :]
        betas[t] = torch.where((t + 1 < p.lengths)[:, None], step.logsumexp(2), p.end)
    return torch.stack(betas, 1)


def _wants_graph(p: Potentials) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in p)


class Reference(Backend):
    """Textbook log-space PyTorch in float64; any order of derivatives, any device."""

    name = "reference"
    differentiable = True

    def log_partition(self, p: Potentials) -> Tensor:
        return _forward(_exact(p)).to(p.emissions.dtype)

    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        """Expectations are the derivatives of log Z, so that is how they are computed."""
        graph = _wants_graph(p)
        q = _exact(p)
        with torch.enable_grad():
            unary = torch.zeros_like(q.emissions, requires_grad=True)
            binary = torch.zeros_like(q.transitions, requires_grad=True)
            log_z = _forward(q._replace(emissions=q.emissions + unary, transitions=q.transitions + binary))
            total = torch.where(torch.isneginf(log_z), 0, log_z).sum()
            e, n = torch.autograd.grad(total, (unary, binary), create_graph=graph, materialize_grads=True)
        if pairs != "edges" and not p.by_position:
            n = n.sum(1)
        dtype = p.emissions.dtype
        found = (log_z.to(dtype), e.to(dtype), n.to(dtype))
        return Expectations(*(found if graph else (x.detach() for x in found)))

    def directional(
        self, p: Potentials, unary: Tensor | None, pairs: Tensor | None, state: Any = None
    ) -> tuple[Tensor, Tensor]:
        """The Hessian is symmetric: the gradient of <expectations, direction>."""
        emissions = p.emissions.detach().double().requires_grad_()
        transitions = p.transitions.detach().double()
        if not p.by_position:
            transitions = transitions.expand(len(emissions), *transitions.shape[-2:])
        transitions = transitions.clone().requires_grad_()
        with torch.enable_grad():
            q = Potentials(emissions, transitions, p.start.detach(), p.end.detach(), p.lengths)
            x = self.expectations(q, "edges" if pairs is not None and pairs.dim() == 4 else "counts")
            assert x.pairs is not None
            along = 0.0 * (x.marginals.sum() + x.pairs.sum())
            if unary is not None:
                inside = scores.within(p.lengths, unary.shape[1])[..., None]
                along = along + (x.marginals * torch.where(inside, unary, 0)).sum()
            if pairs is not None:
                along = along + (x.pairs * pairs).sum()
            first, second = torch.autograd.grad(along, (emissions, transitions), materialize_grads=True)
        return first.to(p.emissions.dtype), second.to(p.emissions.dtype)

    def topk(self, p: Potentials, k: int) -> Paths:
        """List Viterbi: the k best prefixes that end in each tag, step by step, with back pointers."""
        return list_viterbi(p, k)

    def sample(self, p: Potentials, uniforms: Tensor) -> Tensor:
        """Backward algorithm, then tag by tag from the conditional distributions p(y_t | y_t-1)."""
        with torch.no_grad():
            q = _exact(p)
            onward = q.emissions + _backward(q)  # [B, T, C]
            weights = (q.start + onward[:, 0])[:, None].expand(*uniforms.shape[:2], -1)
            tags = []
            for t in range(uniforms.shape[2]):
                cumulative = weights.softmax(-1).cumsum(-1)
                tag = (cumulative <= uniforms[..., t : t + 1] * cumulative[..., -1:]).sum(-1)
                tag = tag.clamp(max=weights.shape[-1] - 1)  # [B, n]
                tags.append(tag)
                if t + 1 < uniforms.shape[2]:
                    rows = q.transitions[:, t].gather(1, tag[..., None].expand(-1, -1, weights.shape[-1]))
                    weights = rows + onward[:, t + 1, None]
            legal = ~torch.isneginf(_forward(q))
            inside = scores.within(p.lengths, uniforms.shape[2]) & legal[:, None]
            return torch.where(inside[:, None], torch.stack(tags, 2), -1)


@torch.no_grad()
def list_viterbi(p: Potentials, k: int) -> Paths:
    """The exact k best paths of every chain, O(T C^2 k).

    Different back pointers are different prefixes, so no path comes twice; a prefix that does not exist has the
    score -inf and stays behind all that do.
    """
    batch, length, num_tags = p.emissions.shape
    dtype = torch.float64
    emissions = torch.where(scores.within(p.lengths, length)[..., None], p.emissions, 0).to(dtype)
    transitions = p.transitions.to(dtype)
    best = torch.full((batch, num_tags, k), -torch.inf, dtype=dtype, device=emissions.device)  # [B, C, k]
    best[:, :, 0] = p.start.to(dtype) + emissions[:, 0]
    pointers = []
    for t in range(1, length):
        step = transitions[:, t - 1] if p.by_position else transitions
        if step.dim() == 2:
            step = step.expand(batch, -1, -1)
        candidates = best[..., None] + step[:, :, None, :]  # [B, from, k, to]
        values, index = candidates.flatten(1, 2).topk(k, dim=1)  # [B, k, to]
        values = values.transpose(1, 2) + emissions[:, t, :, None]
        best = torch.where((t < p.lengths)[:, None, None], values, best)
        pointers.append(index.transpose(1, 2))
    final = (best + p.end.to(dtype).expand(batch, num_tags)[..., None]).flatten(1)
    values, state = final.topk(k, dim=1)  # [B, k]; state = tag * k + rank
    tags = torch.full((batch, k, length), -1, dtype=torch.int64, device=emissions.device)
    for t in range(length - 1, -1, -1):
        inside = (t < p.lengths)[:, None]
        tags[:, :, t] = torch.where(inside, state // k, -1)
        if t > 0:
            previous = pointers[t - 1].flatten(1).gather(1, state)
            state = torch.where(inside, previous, state)
    tags[torch.isneginf(values)] = -1
    return Paths(tags, values.to(p.emissions.dtype))
