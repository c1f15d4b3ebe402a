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
from structkd.kernels.interface import Backend, Expectations, Pairs, Potentials

_Grads = tuple[Tensor | None, ...]


def _needs_graph(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def expectations(p: Potentials, pairs: Pairs = "counts") -> Expectations:
    """log Z, which can be differentiated twice, marginals and counts, which can be differentiated once.

    Where no pairs are wanted, log Z is left without a gradient: asking for it is what ``log_partition`` is for.
    """
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p[:4]):
        return backend.expectations(p, pairs)
    return Expectations(*_Inference.apply(backend, pairs, None, False, p.lengths, *p[:4]))


def log_partition(p: Potentials) -> Tensor:
    """log Z [B] where nothing else is asked."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p[:4]):
        return backend.log_partition(p)
    return _Inference.apply(backend, "counts", None, False, p.lengths, *p[:4])[0]


def log_likelihood(p: Potentials, tags: Tensor, *, total: bool = False) -> Tensor:
    """score(tags [B, T]) - log Z [B], or its sum, as one node; -inf where the path is -1 or no path is legal."""
    backend = select(p.emissions.device)
    if backend.differentiable:
        value = _composed_log_likelihood(backend, p, tags)
    elif _needs_graph(*p[:4]):
        return _Inference.apply(backend, "counts", tags, total, p.lengths, *p[:4])[0]
    else:
        value = backend.log_likelihood(p, tags).value
    return value.sum() if total else value


def _composed_log_likelihood(backend: Backend, p: Potentials, tags: Tensor) -> Tensor:
    backend.check_tags(p, tags[:, None])
    wide = p.double()
    log_z = backend.log_partition(wide)
    absent = torch.isneginf(log_z) | (tags[:, 0] < 0)
    value = torch.where(absent, -torch.inf, backend.path_scores(wide, tags[:, None])[:, 0] - log_z)
    return value.to(p.emissions.dtype)


def path_scores(p: Potentials, tags: Tensor) -> Tensor:
    """Scores [B, k] of paths [B, k, T]; ValueError for tags that are no path."""
    backend = select(p.emissions.device)
    backend.check_tags(p, tags)
    return _path_scores(backend, p, tags)


def _path_scores(backend: Backend, p: Potentials, tags: Tensor) -> Tensor:
    if backend.differentiable or not _needs_graph(*p[:4]):
        return backend.path_scores(p, tags)
    return _PathScores.apply(backend, tags, p.lengths, *p[:4])


def expected_score(p: Potentials, marginals: Tensor, pairs: Tensor | None) -> Tensor:
    """<marginals, emissions> + <pairs, transitions> + the ends [B]."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p[:4], marginals, pairs):
        return backend.expected_score(p, marginals, pairs)
    return _ExpectedScore.apply(backend, p.lengths, *p[:4], marginals, pairs)


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class _Inference(Function):
    """(log Z, marginals, pairs), or (log-probability of tags, its derivatives): a function and its gradient.

    Both outputs behind the first are the derivative of the first, so a second derivative comes back to this node
    through them. That of a log-probability is that of -log Z: the score of the tags is linear.
    """

    @staticmethod
    def forward(
        ctx: Any, backend: Backend, pairs: Pairs, tags: Tensor | None, total: bool, lengths: Tensor, *chain: Tensor
    ) -> Any:
        ctx.set_materialize_grads(False)
        p = Potentials._make((*chain, lengths))
        if tags is None:
            x = backend.expectations(p, pairs, keep=pairs == "none")
            ctx.state = x.state
        else:
            x = backend.log_likelihood(p, tags)
            ctx.state = None
        ctx.backend = backend
        ctx.save_for_backward(*p, x.marginals, x.pairs, tags)
        return (x.value.sum() if total else x.value), x.marginals, x.pairs

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None, unary: Tensor | None, pairs: Tensor | None) -> Any:
        *chain, marginals, counts, tags = ctx.saved_tensors
        p = Potentials._make(chain)
        graph = torch.is_grad_enabled()
        weigh = scores.weigh if graph else ctx.backend.weigh
        grads: _Grads = (None,) * 4
        if weight is not None:
            weight = weight.expand(len(marginals)) if weight.dim() == 0 else weight
            grads = weigh(weight, marginals, counts, p)
        if unary is not None or pairs is not None:
            sign = None
            if tags is not None:  # a path of -1 has a constant probability
                sign = torch.where(tags[:, 0] >= 0, -1, 0).to(p.emissions.dtype)
            if graph:
                moved = _Directional.apply(ctx.backend, *p, unary, pairs)
            else:
                moved = ctx.backend.directional(p, unary, pairs, ctx.state)
            grads = tuple(map(_add, grads, weigh(sign, *moved, p)))
        return None, None, None, None, None, *grads


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
