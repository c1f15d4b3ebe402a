"""The derivatives of every backend, joined to PyTorch here and nowhere else.

log Z is differentiable twice: its first derivatives are the expectations, and the derivative of the expectations is
their derivative along the incoming gradient, because the Hessian of log Z is symmetric. One node answers log Z,
marginals and counts; it computes all three in one sweep, so the backward pass of log Z only weighs what is there.
The scores of given paths are linear in the potentials: they and the counts of the paths are each other's adjoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from structkd.kernels import scores
from structkd.kernels.dispatch import select
from structkd.kernels.interface import Backend, Expectations, Pairs, Potentials

_Grads = tuple[Tensor | None, ...]


def _needs_graph(*tensors: Tensor | None) -> bool:
    if torch.is_grad_enabled():
        for x in tensors:
            if x is not None and x.requires_grad:
                return True
    return False


def expectations(p: Potentials, pairs: Pairs = "counts") -> Expectations:
    """log Z, which can be differentiated twice, marginals and counts, which can be differentiated once.

    Where no pairs are wanted, log Z is left without a gradient: asking for it is what ``log_partition`` is for.
    """
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p[:4]):
        return backend.expectations(p, pairs)
    return Expectations(*_Inference.apply(backend, pairs, p.lengths, *p[:4]))


def log_partition(p: Potentials) -> Tensor:
    """log Z [B] where nothing else is asked."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p[:4]):
        return backend.log_partition(p)
    return _Inference.apply(backend, "counts", p.lengths, *p[:4])[0]


def log_likelihood(p: Potentials, tags: Tensor, *, total: bool = False) -> Tensor:
    """score(tags [B, T]) - log Z [B], or its sum, as one node; -inf where the path is -1 or no path is legal."""
    backend = select(p.emissions.device)
    if backend.differentiable:
        value = _composed_log_likelihood(backend, p, tags)
    elif _needs_graph(*p[:4]):
        return _LogLikelihood.apply(backend, tags, total, p.lengths, *p[:4])
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


def match(p: Potentials, mass: Tensor, unary: Tensor, pairs: Tensor) -> Tensor:
    """mass * log Z - <unary, pairs; potentials> [B] as one node; the targets are constants, without a gradient."""
    backend = select(p.emissions.device)
    if backend.differentiable or not _needs_graph(*p[:4]):
        return backend.match(p, mass, unary, pairs).value
    return _Match.apply(backend, mass, unary, pairs, p.lengths, *p[:4])


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


def _potentials(chain: Sequence[Tensor], lengths: Tensor) -> Potentials:
    emissions, transitions, start, end = chain
    return Potentials(emissions, transitions, start, end, lengths)


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class _Inference(Function):
    """(log Z, marginals, pairs): a function and its gradient.

    The outputs behind the first are the derivative of the first, so a second derivative comes back to this node through
    them.
    """

    @staticmethod
    def forward(ctx: Any, backend: Backend, pairs: Pairs, lengths: Tensor, *chain: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        x = backend.expectations(_potentials(chain, lengths), pairs, keep=pairs == "none")
        ctx.backend, ctx.state = backend, x.state
        ctx.save_for_backward(*chain, lengths, x.marginals, x.pairs)
        return x.value, x.marginals, x.pairs

    @staticmethod
    def backward(ctx: Any, weight: Tensor | None, unary: Tensor | None, pairs: Tensor | None) -> Any:
        *chain, lengths, marginals, counts = ctx.saved_tensors
        p = _potentials(chain, lengths)
        graph = torch.is_grad_enabled()
        weigh = scores.weigh if graph else ctx.backend.weigh
        grads: _Grads = (None,) * 4
        if weight is not None:
            grads = weigh(weight, marginals, counts, p)
        if unary is not None or pairs is not None:
            if graph:
                moved, moved_pairs = _Directional.apply(ctx.backend, *p, unary, pairs)
            else:
                moved, moved_pairs = ctx.backend.directional(p, unary, pairs, ctx.state)
            grads = tuple(map(_add, grads, weigh(None, moved, moved_pairs, p)))
        return None, None, None, *grads


class _LogLikelihood(Function):
    """score(tags) - log Z, or its sum, with the gradient computed in the same sweep."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, tags: Tensor, total: bool, lengths: Tensor, *chain: Tensor) -> Tensor:
        x = backend.log_likelihood(_potentials(chain, lengths), tags)
        ctx.backend = backend
        ctx.save_for_backward(*chain, lengths, x.marginals, x.pairs, tags)
        return x.value.sum() if total else x.value

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        *chain, lengths, unary, pairs, tags = ctx.saved_tensors
        p = _potentials(chain, lengths)
        if weight.dim() == 0:
            weight = weight.expand(len(unary))
        if not torch.is_grad_enabled():
            return None, None, None, None, *ctx.backend.weigh(weight, unary, pairs, p)
        # The gradient moves like that of -log Z, because the score of the tags is linear. A path of -1 is constant.
        x = _Inference.apply(ctx.backend, "counts", lengths, *chain)
        live = (tags[:, 0] >= 0).to(unary.dtype)
        unary = unary + (x[1].detach() - x[1]) * live[:, None, None]
        pairs = pairs + (x[2].detach() - x[2]) * live.view(-1, *[1] * (pairs.dim() - 1))
        return None, None, None, None, *scores.weigh(weight, unary, pairs, p)


class _Match(Function):
    """mass * log Z - <targets, potentials>, with the difference of the expectations from the same sweep."""

    @staticmethod
    def forward(
        ctx: Any, backend: Backend, mass: Tensor, unary: Tensor, pairs: Tensor, lengths: Tensor, *chain: Tensor
    ) -> Tensor:
        x = backend.match(_potentials(chain, lengths), mass, unary, pairs)
        ctx.backend = backend
        ctx.save_for_backward(*chain, lengths, x.marginals, x.pairs, mass)
        return x.value

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        *chain, lengths, unary, pairs, mass = ctx.saved_tensors
        p = _potentials(chain, lengths)
        if not torch.is_grad_enabled():
            return None, None, None, None, None, *ctx.backend.weigh(weight, unary, pairs, p)
        # The gradient moves like that of mass * log Z, because the score of the targets is linear.
        x = _Inference.apply(ctx.backend, "counts", lengths, *chain)
        mass = mass.to(unary.dtype)[:, None, None]
        unary = unary + (x[1] - x[1].detach()) * mass
        pairs = pairs + (x[2] - x[2].detach()) * mass
        return None, None, None, None, None, *scores.weigh(weight, unary, pairs, p)


class _Directional(Function):
    """A Hessian-vector product inside a graph: there to say that its derivative does not exist."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, *args: Any) -> Any:
        ctx.name = backend.name
        *chain, lengths, unary, pairs = args
        return backend.directional(_potentials(chain, lengths), unary, pairs)

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
        return backend.path_scores(_potentials(chain, lengths), tags)

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
        p = _potentials(chain, lengths)
        unary, pairs = backend.path_counts(tags, weights.contiguous(), p)
        return backend.weigh(unary.new_ones(len(unary)), unary, pairs, p)

    @staticmethod
    def backward(ctx: Any, *direction: Tensor) -> Any:
        tags, lengths = ctx.saved_tensors
        score = _path_scores(ctx.backend, _potentials(direction, lengths), tags)
        # A path of -1 has no counts, whatever its score.
        return None, None, None, torch.where(tags[..., 0] >= 0, score, 0), None, None, None, None


class _ExpectedScore(Function):
    """<potentials, expectations>, differentiable in both."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, lengths: Tensor, *args: Any) -> Tensor:
        *chain, marginals, pairs = args
        ctx.backend = backend
        ctx.save_for_backward(lengths, *args)
        return backend.expected_score(_potentials(chain, lengths), marginals, pairs)

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> Any:
        lengths, *chain, marginals, pairs = ctx.saved_tensors
        p = _potentials(chain, lengths)
        weigh = scores.weigh if torch.is_grad_enabled() else ctx.backend.weigh
        by_mass: _Grads = (None, None)
        if any(ctx.needs_input_grad[6:]):
            by_mass = scores.by_mass(weights, p, marginals, pairs)
        return None, None, *weigh(weights, marginals, pairs, p), *by_mass
