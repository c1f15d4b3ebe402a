"""The derivatives of every backend, joined to PyTorch here and nowhere else.

log Z is differentiable twice: its first derivatives are the expectations, and the derivative of the expectations is
their derivative along the incoming gradient, because the Hessian of log Z is symmetric. One node answers log Z,
marginals and counts; it computes all three in one sweep, so the backward pass of log Z only weighs what is there.
The scores of given paths are linear in the potentials: they and the counts of the paths are each other's adjoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from structkd.kernels import scores
from structkd.kernels.dispatch import select
from structkd.kernels.interface import Backend, Expectations, Potentials

_Grads = tuple[Tensor | None, ...]


def _needs_graph(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def expectations(p: Potentials, *, edges: bool = False) -> Expectations:
    """log Z, marginals and counts (by position if ``edges``); log Z can be differentiated twice, the others once."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p):
        return backend.expectations(p, edges)
    return Expectations(*_Inference.apply(backend, edges, None, p.lengths, *p[:4]))


def log_partition(p: Potentials) -> Tensor:
    """log Z [B] where nothing else is asked."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p):
        return backend.log_partition(p)
    return _Inference.apply(backend, False, None, p.lengths, *p[:4])[0]


def negative_log_likelihood(p: Potentials, tags: Tensor) -> Tensor:
    """log Z - score(tags [B, T]) [B] as one node; +inf, with gradient 0, where the path is -1 or no path is legal."""
    backend = select(p.emissions.device)
    if backend.differentiable:
        backend.check_tags(p, tags[:, None])
        wide = p.double()
        log_z = backend.log_partition(wide)
        absent = torch.isneginf(log_z) | (tags[:, 0] < 0)
        nll = torch.where(absent, torch.inf, log_z - backend.path_scores(wide, tags[:, None])[:, 0])
        return nll.to(p.emissions.dtype)
    if not _needs_graph(*p):
        return backend.negative_log_likelihood(p, tags).log_partition
    return _Inference.apply(backend, False, tags, p.lengths, *p[:4])[0]


def path_scores(p: Potentials, tags: Tensor) -> Tensor:
    """Scores [B, k] of paths [B, k, T]; ValueError for tags that are no path."""
    backend = select(p.emissions.device)
    backend.check_tags(p, tags)
    return _path_scores(backend, p, tags)


def _path_scores(backend: Backend, p: Potentials, tags: Tensor) -> Tensor:
    if backend.differentiable or not _needs_graph(*p):
        return backend.path_scores(p, tags)
    return _PathScores.apply(backend, tags, p.lengths, *p[:4])


def expected_score(p: Potentials, marginals: Tensor, pairs: Tensor | None) -> Tensor:
    """<marginals, emissions> + <pairs, transitions> + the ends [B]."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p, marginals, pairs):
        return backend.expected_score(p, marginals, pairs)
    return _ExpectedScore.apply(backend, p.lengths, *p[:4], marginals, pairs)


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class _Inference(Function):
    """(log Z, marginals, counts), or the same minus the score and the counts of given tags."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, edges: bool, tags: Tensor | None, lengths: Tensor, *chain: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        p = Potentials._make((*chain, lengths))
        x = backend.expectations(p, edges) if tags is None else backend.negative_log_likelihood(p, tags)
        ctx.backend = backend
        ctx.save_for_backward(*p, x.marginals, x.pairs, tags)
        return tuple(x)

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None, unary: Tensor | None, pairs: Tensor | None) -> Any:
        *chain, marginals, counts, tags = ctx.saved_tensors
        p = Potentials._make(chain)
        grads: _Grads = (None,) * 4
        if weight is not None:
            # marginals and counts are outputs of this very node: where a second derivative is wanted, it comes back
            # here through them.
            weigh = scores.weigh if torch.is_grad_enabled() else ctx.backend.weigh
            grads = weigh(weight, marginals, counts, p)
        if unary is not None or pairs is not None:
            if tags is not None:  # a sentence without a path is constant
                live = (tags[:, 0] >= 0)[:, None, None]
                unary = None if unary is None else unary * live
                pairs = None if pairs is None else pairs * (live[..., None] if pairs.dim() == 4 else live)
            if torch.is_grad_enabled():
                d_marginals, d_counts = _Directional.apply(ctx.backend, *p, unary, pairs)
            else:
                d_marginals, d_counts = ctx.backend.directional(p, unary, pairs)
            ones = d_marginals.new_ones(len(d_marginals))
            grads = tuple(map(_add, grads, scores.weigh(ones, d_marginals, d_counts, p)))
        return None, None, None, None, *grads


class _Directional(Function):
    """A Hessian-vector product inside a graph: there to say that its derivative does not exist."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, *args: Tensor | None) -> Any:
        ctx.name = backend.name
        p = Potentials._make(args[:5])
        return backend.directional(p, args[5], args[6])

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            f"backend {ctx.name!r} differentiates log Z, likelihoods and path scores twice, and marginals, counts, "
            "entropy, cross-entropy and KL once; for higher derivatives use `with structkd.kernels.use_backend("
            "'reference')`"
        )


class _PathScores(Function):
    """<potentials, counts of the paths>; the gradient is the weighted counts."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, tags: Tensor, lengths: Tensor, *chain: Tensor) -> Tensor:
        ctx.backend = backend
        ctx.save_for_backward(tags, lengths, *chain)
        return backend.path_scores(Potentials._make((*chain, lengths)), tags)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> Any:
        tags, lengths, *chain = ctx.saved_tensors
        return None, None, None, *_PathCounts.apply(ctx.backend, tags, lengths, weights, *chain)


class _PathCounts(Function):
    """Weighted counts of the paths in the shapes of the potentials; the gradient is the score of the direction."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, tags: Tensor, lengths: Tensor, weights: Tensor, *chain: Tensor) -> Any:
        ctx.backend = backend
        ctx.save_for_backward(tags, lengths)
        p = Potentials._make((*chain, lengths))
        unary, pairs = backend.path_counts(tags, weights.contiguous(), p)
        return backend.weigh(unary.new_ones(len(unary)), unary, pairs, p)

    @staticmethod
    def backward(ctx: Any, *direction: Tensor) -> Any:
        tags, lengths = ctx.saved_tensors
        score = _path_scores(ctx.backend, Potentials._make((*direction, lengths)), tags)
        # A path of -1 has no counts, whatever its score.
        return None, None, None, torch.where(tags[..., 0] >= 0, score, 0), None, None, None, None


class _ExpectedScore(Function):
    """<potentials, expectations>, differentiable in both."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, lengths: Tensor, *args: Any) -> Tensor:
        *chain, marginals, pairs = args
        ctx.backend = backend
        ctx.save_for_backward(lengths, *args)
        return backend.expected_score(Potentials._make((*chain, lengths)), marginals, pairs)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> Any:
        lengths, *chain, marginals, pairs = ctx.saved_tensors
        p = Potentials._make((*chain, lengths))
        weigh = scores.weigh if torch.is_grad_enabled() else ctx.backend.weigh
        by_mass: _Grads = (None, None)
        if any(ctx.needs_input_grad[6:]):
            by_mass = scores.by_mass(weights, p, marginals, pairs)
        return None, None, *weigh(weights, marginals, pairs, p), *by_mass
