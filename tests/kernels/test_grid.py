"""Every backend against the reference, at odd lengths and numbers of tags and for every dtype."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from structkd.kernels import Potentials, select, use_backend
from tests.kernels.chains import KINDS, potentials, ragged

LENGTHS = (1, 2, 3, 63, 128)
TAGS = (1, 2, 9, 17, 33)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CPU = torch.device("cpu")


def draw(kind: str, length: int, tags: int, dtype: torch.dtype, batch: int = 3) -> Potentials:
    """What the door makes of a caller's tensors: half precision becomes float32."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    chain = (x.to(wide) for x in potentials(batch, length, tags, kind, dtype=dtype))
    return Potentials._make((*chain, ragged(batch, length)))


def direction(p: Potentials) -> tuple[Tensor, Tensor]:
    e, a, _, _ = potentials(*p.emissions.shape, "by_position" if p.by_position else "by_sentence", seed=1)
    return e.to(p.emissions.dtype), a.to(p.emissions.dtype)


@cache
def truth(kind: str, length: int, tags: int, dtype: torch.dtype, batch: int = 3) -> dict[str, Tensor]:
    with use_backend("reference"):
        return answers(draw(kind, length, tags, dtype, batch), derivative=length < 128 or dtype != torch.float32)


def answers(p: Potentials, derivative: bool = True) -> dict[str, Tensor]:
    backend = select(CPU)
    x = backend.expectations(p, "counts", keep=True)
    best = backend.viterbi(p)
    tags = best.tags[:, 0].flip(0).clamp(min=0)
    of_path = backend.log_likelihood(p, tags)
    found = {
        "log_partition": x.value,
        "log_partition alone": backend.log_partition(p),
        "marginals": x.marginals,
        "pairs": x.pairs,
        "best": best.scores,
        "score of best": backend.path_scores(p, best.tags),
        "log_likelihood": of_path.value,
        "derivative by emissions": of_path.marginals,
        "derivative by pairs": of_path.pairs,
        "expected score": backend.expected_score(p, x.marginals, x.pairs),
    }
    if derivative:
        unary, pairs = direction(p)
        found["d marginals"], found["d pairs"] = backend.directional(p, unary, pairs)
        found["d marginals, unary only"], found["d pairs, unary only"] = backend.directional(p, unary, None)
        found["d marginals, again"], found["d pairs, again"] = backend.directional(p, unary, pairs, x.state)
    if not p.by_position:
        mass = torch.linspace(0, 1.5, len(p.lengths), dtype=p.emissions.dtype)
        of_target = backend.match(p, mass, *backend.path_counts(tags[:, None], mass[:, None], p))
        found["match"] = of_target.value
        found["match, by emissions"], found["match, by pairs"] = of_target.marginals, of_target.pairs
    weights = torch.linspace(-1, 1, len(p.lengths), dtype=p.emissions.dtype)
    for name, grad in zip("estu", backend.weigh(weights, x.marginals, x.pairs, p), strict=True):
        assert grad is not None
        found[f"weighed {name}"] = grad
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("length", LENGTHS)
def test_backend_agrees_with_the_reference(fast_backend: str, length: int, tags: int, dtype: torch.dtype) -> None:
    batch = 5  # enough for one sentence in every lane, where the C kernels do that
    expected = truth("shared", length, tags, dtype, batch)
    found = answers(draw("shared", length, tags, dtype, batch), derivative="d pairs" in expected)
    compare(found, expected, dtype)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(("length", "tags"), [(1, 2), (2, 1), (3, 17), (63, 9)])
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_backend_agrees_where_transitions_differ(
    fast_backend: str, kind: str, length: int, tags: int, dtype: torch.dtype
) -> None:
    compare(answers(draw(kind, length, tags, dtype)), truth(kind, length, tags, dtype), dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_edge_marginals_and_their_derivative_agree(fast_backend: str, kind: str) -> None:
    p = draw(kind, 7, 5, torch.float64)
    unary, _ = direction(p)
    along = torch.randn(3, 6, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with use_backend("reference"):
        expected = select(CPU).expectations(p, "edges").pairs
        derivative = select(CPU).directional(p, unary, along)
    torch.testing.assert_close(select(CPU).expectations(p, "edges").pairs, expected, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(select(CPU).directional(p, unary, along), derivative, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def compare(found: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    exact = dtype == torch.float64
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.dtype == expected[name].dtype, name
        torch.testing.assert_close(
            value,
            expected[name],
            rtol=1e-9 if exact else 1e-5,
            atol=1e-9 if exact else 1e-5,
            msg=lambda m, name=name: f"{name}: {m}",  # type: ignore[misc]
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "tags", "k"), [(1, 3, 5), (2, 2, 7), (9, 5, 6), (47, 4, 40), (40, 17, 10)])
def test_k_best_agrees_with_the_reference(fast_backend: str, kind: str, length: int, tags: int, k: int) -> None:
    p = draw(kind, length, tags, torch.float64, batch=5)
    with use_backend("reference"):
        expected = select(CPU).topk(p, k)
    found = select(CPU).topk(p, k)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-12, atol=1e-12)
    assert torch.equal(found.tags, expected.tags)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_uniforms_draw_the_same_paths(fast_backend: str, kind: str) -> None:
    p = draw(kind, 12, 5, torch.float64)
    uniforms = torch.rand(3, 20, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with use_backend("reference"):
        expected = select(CPU).sample(p, uniforms)
    assert torch.equal(select(CPU).sample(p, uniforms), expected)
