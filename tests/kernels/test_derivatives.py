"""Derivatives by finite differences, in float64: twice for log Z, likelihoods and path scores, once for the rest."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from structkd.crf import LinearChainCRF
from structkd.kernels import use_backend
from tests.kernels.chains import KINDS, potentials, ragged

Question = Callable[[LinearChainCRF], Tensor]
TAGS = torch.tensor([[0, 2, 1, 1], [1, 1, 0, -1], [2, 1, -1, -1]])
TWICE: dict[str, Question] = {
    "log_partition": lambda d: d.log_partition,
    "log_prob": lambda d: d.log_prob(TAGS[:, : d.emissions.shape[1]]),
    "score": lambda d: d.score(torch.stack((TAGS, TAGS.roll(1, 0)), 1).clamp(min=0)[..., : d.emissions.shape[1]]),
    "log_prob of k": lambda d: d.log_prob(TAGS[:, None].clamp(min=0)[..., : d.emissions.shape[1]]),
    "log_prob_partial": lambda d: d.log_prob_partial(torch.tensor([[-1, 2, -1, 0]] * 3)[:, : d.emissions.shape[1]]),
}


def other(length: int) -> LinearChainCRF:
    return LinearChainCRF(*potentials(3, length, 3, seed=5), ragged(3, length))


ONCE: dict[str, Question] = {
    "marginals": lambda d: d.marginals,
    "transition_counts": lambda d: d.transition_counts,
    "edge_marginals": lambda d: d.edge_marginals,
    "entropy": lambda d: d.entropy,
    "kl": lambda d: d.kl(other(d.emissions.shape[1])),
    "cross_entropy": lambda d: d.cross_entropy(other(d.emissions.shape[1])),
    "kl from": lambda d: other(d.emissions.shape[1]).kl(d),
    "expected_score": lambda d: d.expected_score(
        other(d.emissions.shape[1]).marginals,
        other(d.emissions.shape[1]).edge_marginals
        if d.transitions.dim() == 4
        else other(d.emissions.shape[1]).transition_counts,
    ),
}


def ask(question: Question, length: int) -> Callable[..., Tensor]:
    return lambda *x: question(LinearChainCRF(*x, ragged(3, length)))


def leaves(kind: str, length: int) -> tuple[Tensor, ...]:
    return tuple(x.requires_grad_() for x in potentials(3, length, 3, kind))


@pytest.mark.parametrize(("kind", "length"), [*((kind, 4) for kind in KINDS), ("shared", 1), ("by_position", 1)])
@pytest.mark.parametrize("name", TWICE)
def test_likelihoods_are_differentiable_twice(backend: str, kind: str, length: int, name: str) -> None:
    x = leaves(kind, length)
    assert gradcheck(ask(TWICE[name], length), x)
    if backend != "reference" or kind == "shared":
        assert gradgradcheck(ask(TWICE[name], length), x)


@pytest.mark.parametrize(("kind", "length"), [*((kind, 4) for kind in KINDS), ("shared", 1), ("by_position", 1)])
@pytest.mark.parametrize("name", ONCE)
def test_expectations_are_differentiable(backend: str, kind: str, length: int, name: str) -> None:
    assert gradcheck(ask(ONCE[name], length), leaves(kind, length))


def test_expected_score_is_differentiable_in_the_expectations(backend: str) -> None:
    d = LinearChainCRF(*potentials(), ragged(3, 4))
    e, n = d.marginals.clone().requires_grad_(), d.transition_counts.clone().requires_grad_()
    assert gradcheck(d.expected_score, (e, n))
    assert gradgradcheck(d.expected_score, (e, n))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "by_position"])
def test_matching_a_target_is_log_z_minus_its_score_and_differentiable_twice(backend: str, kind: str) -> None:
    teacher, mass = other(4), torch.tensor([1.0, 0.0, 0.3], dtype=torch.float64)
    e, n = (x * mass[:, None, None] for x in (teacher.marginals, teacher.transition_counts))

    def match(*x: Tensor) -> Tensor:
        return LinearChainCRF(*x, ragged(3, 4)).match(e, n, mass)

    chain = leaves(kind, 4)
    student = LinearChainCRF(*chain, ragged(3, 4))
    torch.testing.assert_close(match(*chain), mass * student.log_partition - student.expected_score(e, n))
    torch.testing.assert_close(
        student.match(teacher.marginals, teacher.transition_counts), teacher.cross_entropy(student)
    )
    assert gradcheck(match, chain)
    assert gradgradcheck(match, chain)


def test_a_target_on_a_forbidden_pair_costs_infinity(backend: str) -> None:
    teacher = other(4)
    e, a, s, t = (x.detach().clone() for x in leaves("shared", 4))
    a[0, 1] = -torch.inf
    student = LinearChainCRF(e, a, s, t, ragged(3, 4))
    found = student.match(teacher.marginals, teacher.transition_counts)
    assert found.isposinf().tolist() == [True, True, True]
    legal = LinearChainCRF(e, a, s, t, ragged(3, 4)).topk(1).tags
    assert student.match(*path_targets(legal)).isfinite().all()


def path_targets(paths: Tensor) -> tuple[Tensor, Tensor]:
    """Counts of one path a sentence."""
    e, n = torch.zeros(3, 4, 3).double(), torch.zeros(3, 3, 3).double()
    for b, path in enumerate(paths[:, 0].tolist()):
        tags = [tag for tag in path if tag >= 0]
        for step, tag in enumerate(tags):
            e[b, step, tag] = 1
        for pair in pairwise(tags):
            n[b][pair] += 1
    return e, n


def test_one_backward_pass_through_everything_at_once(backend: str) -> None:
    """log Z, marginals and counts come from one node: their gradients must add up."""

    def everything(*x: Tensor) -> Tensor:
        d = LinearChainCRF(*x, ragged(3, 4))
        return d.log_partition + d.marginals.pow(2).sum((1, 2)) + d.transition_counts.pow(2).sum((1, 2))

    assert gradcheck(everything, leaves("shared", 4))


def test_a_third_derivative_is_refused_by_fused_backends(backend: str) -> None:
    e, *rest = leaves("shared", 4)
    d = LinearChainCRF(e, *rest)
    (first,) = torch.autograd.grad(d.log_partition.sum(), e, create_graph=True)
    (second,) = torch.autograd.grad(first[0, 0, 0], e, create_graph=True)
    if backend == "reference":
        (third,) = torch.autograd.grad(second[0, 0, 0], e)
        q = d.marginals[0, 0, 0]
        torch.testing.assert_close(third[0, 0, 0], q * (1 - q) * (1 - 2 * q))
    else:
        with pytest.raises(RuntimeError, match="reference"):
            second[0, 0, 0].backward()


def test_the_backward_pass_uses_the_backend_of_the_forward_pass() -> None:
    e, *rest = leaves("shared", 4)
    with use_backend("torch"):
        loss = LinearChainCRF(e, *rest).marginals.pow(2).sum()
    with use_backend("reference"):
        loss.backward()
    assert loss.grad_fn is not None
    assert e.grad is not None


def test_an_answer_asked_without_gradients_is_asked_again_with_them(backend: str) -> None:
    d = LinearChainCRF(*leaves("shared", 4))
    with torch.no_grad():
        assert not d.log_partition.requires_grad
    assert d.log_partition.requires_grad
    assert d.entropy.requires_grad


def test_gradient_of_the_structural_loss_is_the_difference_of_expectations(backend: str) -> None:
    e, a, s, t = leaves("shared", 4)
    teacher, student = other(4), LinearChainCRF(e, a, s, t, ragged(3, 4))
    loss = student.log_partition - student.expected_score(teacher.marginals, teacher.transition_counts)
    de, da, ds, dt = torch.autograd.grad(loss.sum(), (e, a, s, t))
    difference = (student.marginals - teacher.marginals).detach()
    torch.testing.assert_close(de, difference)
    torch.testing.assert_close(da, (student.transition_counts - teacher.transition_counts).sum(0).detach())
    torch.testing.assert_close(ds, difference[:, 0].sum(0))
    torch.testing.assert_close(dt, difference[torch.arange(3), student.lengths - 1].sum(0))
