"""All questions that a backend answers, for tests that hold one backend against another on any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from structkd.kernels import Backend, Paths, Potentials
from structkd.kernels.reference import Reference
from tests.kernels.chains import potentials, ragged

REFERENCE = Reference()


def draw(kind: str, length: int, tags: int, dtype: torch.dtype, batch: int = 3, scale: float = 2.0) -> Potentials:
    """A random batch as a backend gets it: half precision has become float32."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    chain = (x.to(wide) for x in potentials(batch, length, tags, kind, dtype=dtype, scale=scale))
    return Potentials._make((*chain, ragged(batch, length)))


def moved(p: Potentials, device: torch.device) -> Potentials:
    return Potentials._make(x.to(device) for x in p)


def answers(
    backend: Backend, p: Potentials, k: int = 3, samples: int = 2, everything: bool = True
) -> dict[str, Tensor]:
    """What a backend says, on the CPU; directions, tags and uniforms are the same for every backend."""
    device = p.emissions.device
    kind = "by_position" if p.by_position else "by_sentence"
    along, turned, _, _ = (x.to(device, p.emissions.dtype) for x in potentials(*p.emissions.shape, kind, seed=1))
    generator = torch.Generator().manual_seed(2)
    batch, length, num_tags = p.emissions.shape
    uniforms = torch.rand(batch, samples, length, dtype=torch.float64, generator=generator)
    gold = torch.randint(num_tags, (batch, 2, length), generator=generator).to(device)
    weights = torch.linspace(-1, 1, batch * 2, dtype=p.emissions.dtype).view(batch, 2).to(device)

    found: dict[str, Tensor | None] = {}
    found["log Z"], found["marginals"], found["counts"], _ = backend.expectations(p, "counts")
    if everything:
        _, _, found["edges"], _ = backend.expectations(p, "edges")
        found["log Z alone"] = backend.log_partition(p)
        found["d marginals, unary"], found["d counts, unary"] = backend.directional(p, along, None)
    found["log-likelihood"], found["its unary"], found["its pairs"], _ = backend.log_likelihood(p, gold[:, 0])
    found["d marginals"], found["d counts"] = backend.directional(p, along, turned)
    found["best"] = backend.viterbi(p).scores
    found["k best tags"], found["k best"] = best = backend.topk(p, k)
    found["k best, scored again"] = scored_again(p, best)
    found["sample"] = backend.sample(p, uniforms.to(device))
    found["path scores"] = backend.path_scores(p, gold)
    found["unary of paths"], found["pairs of paths"] = backend.path_counts(gold, weights, p)
    return {name: value.detach().cpu() for name, value in found.items() if value is not None}


def scored_again(p: Potentials, best: Paths) -> Tensor:
    """Scores [B, k] of the tags of best paths, which must differ."""
    for tags, found in zip(best.tags.tolist(), best.scores.tolist(), strict=True):
        legal = [tuple(path) for path, score in zip(tags, found, strict=True) if score > -math.inf]
        assert len(set(legal)) == len(legal)
    return REFERENCE.path_scores(p, best.tags)


def compare(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.dtype == expected[name].dtype, name
        if name == "k best tags" and tolerance > 0:
            continue  # equally good paths may change places; their scores are there too
        if not value.is_floating_point():
            assert torch.equal(value, expected[name]), name
            continue
        torch.testing.assert_close(
            value,
            expected[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, name=name: f"{name}: {m}",  # type: ignore[misc]
        )
