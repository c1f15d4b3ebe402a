"""What holds for every chain."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from structkd.crf import LinearChainCRF
from tests.kernels.chains import KINDS, potentials
from tests.oracles.brute_force import BruteForceCRF

pytestmark = pytest.mark.usefixtures("backend")


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[Tensor, ...], Tensor]:
    batch, length, tags = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    kind, seed = draw(st.sampled_from(KINDS)), draw(st.integers(0, 10**6))
    scale = draw(st.sampled_from([0.0, 1.0, 30.0]))
    x = potentials(batch, length, tags, kind, scale=scale, seed=seed)
    if draw(st.booleans()):  # forbid some pairs, never a tag's own, so that a path stays legal
        off = torch.rand(x[1].shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        off &= ~torch.eye(tags, dtype=torch.bool)
        x[1].masked_fill_(off, -torch.inf)
    lengths = torch.tensor([draw(st.integers(1, length)) for _ in range(batch)])
    return x, lengths


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chains())
def test_marginals_are_consistent_distributions(given_chain: tuple[tuple[Tensor, ...], Tensor]) -> None:
    x, lengths = given_chain
    d = LinearChainCRF(*x, lengths)
    q, edges = d.marginals, d.edge_marginals
    torch.testing.assert_close(q.sum(-1), d.mask.double())
    pairs = d.mask[:, 1:, None].double()
    torch.testing.assert_close(edges.sum(3), q[:, :-1] * pairs)
    torch.testing.assert_close(edges.sum(2), q[:, 1:] * pairs)
    torch.testing.assert_close(edges.sum(1), d.transition_counts)
    assert (q >= 0).all()
    assert (d.entropy >= -1e-9).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chains(), st.integers(1, 12))
def test_k_best_are_sorted_unique_and_exact(given_chain: tuple[tuple[Tensor, ...], Tensor], k: int) -> None:
    x, lengths = given_chain
    d, truth = LinearChainCRF(*x, lengths), BruteForceCRF(*x, lengths)
    best = d.topk(k)
    torch.testing.assert_close(best.scores, truth.topk(k).scores, rtol=1e-9, atol=1e-9)
    assert torch.equal(best.scores, best.scores.sort(1, descending=True).values)
    for b in range(len(lengths)):
        kept = best.tags[b][best.valid[b]]
        assert len(torch.unique(kept, dim=0)) == len(kept)
    again = d.score(torch.where(d.mask[:, None], best.tags, -1))
    torch.testing.assert_close(again, best.scores, rtol=1e-9, atol=1e-9)
    assert (best.tags[~best.valid] == -1).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chains(), st.integers(0, 10**6))
def test_kl_is_not_negative_and_zero_only_where_chains_are_equal(
    given_chain: tuple[tuple[Tensor, ...], Tensor], seed: int
) -> None:
    x, lengths = given_chain
    d, truth = LinearChainCRF(*x, lengths), BruteForceCRF(*x, lengths)
    change = torch.randn(x[0].shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = (x[0] + change, *x[1:])
    moved, other = LinearChainCRF(*y, lengths), BruteForceCRF(*y, lengths)
    kl = d.kl(moved)
    assert (kl >= -1e-9).all()
    torch.testing.assert_close(kl, truth.kl(other), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(d.kl(LinearChainCRF(*x, lengths)), torch.zeros_like(kl), rtol=0, atol=1e-9)
    same = torch.stack(
        [(p - q).abs().max() < 1e-12 for p, q in zip(truth._probabilities(), other._probabilities(), strict=True)]
    )
    assert (kl[~same] > 0).all()
