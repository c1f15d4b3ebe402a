"""The C kernels: every instruction set of this machine, threads, memory and loading."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.kernels import Potentials, available_backends, native, select, use_backend
from structkd.kernels.interface import Backend
from structkd.kernels.native import Native
from tests.kernels.chains import chain, potentials, ragged

needs_kernels = pytest.mark.skipif("cpu" not in available_backends(), reason="the C kernels are not built")


@pytest.fixture(params=["base", "avx2", "avx512"])
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    library = native.load_library()
    if library.structkd_force(request.param.encode()) != 0:
        pytest.skip(f"this processor does not have {request.param}")
    yield request.param
    library.structkd_force(None)


@needs_kernels
@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("batch", [2, 11])
@pytest.mark.parametrize("tags", [1, 2, 3, 7, 8, 9, 16, 17, 26, 40, 65])
def test_every_instruction_set_gives_the_answers_of_the_reference(tags: int, batch: int) -> None:
    leaves = [x.requires_grad_() for x in potentials(batch, 6, tags)]
    results = []
    for name in ("reference", "cpu"):
        with use_backend(name):
            d = LinearChainCRF(*leaves, ragged(batch, 6))
            loss = d.marginals.pow(2).sum() + d.transition_counts.pow(2).sum() + d.log_prob(d.argmax.tags).sum()
            best = d.topk(4)
            grads = torch.autograd.grad(loss, leaves, retain_graph=True)
            along = torch.autograd.grad(d.marginals.pow(2).sum(), leaves)  # without a direction of the transitions
            results.append([d.log_partition, d.marginals, best.scores, best.tags, *grads, *along])
    for mine, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


@needs_kernels
@pytest.mark.parametrize("tags", [24, 40])
def test_viterbi_that_looks_at_few_prefixes_finds_the_best_path(tags: int) -> None:
    """With many tags, only prefixes close to the best are tried; constraints and ties must not be lost."""
    for seed, scale, value in [(0, 1.0, -torch.inf), (1, 5.0, -1e4), (2, 0.0, 0.0), (3, 30.0, -torch.inf)]:
        e, a, s, t = potentials(40, 30, tags, scale=scale, seed=seed)
        off = torch.rand(tags, tags, generator=torch.Generator().manual_seed(seed)) < 0.6
        a = a.masked_fill(off, value)
        with use_backend("reference"):
            expected = LinearChainCRF(e, a, s, t, ragged(40, 30)).argmax
        with use_backend("cpu"):
            d = LinearChainCRF(e, a, s, t, ragged(40, 30))
            found = d.argmax
            torch.testing.assert_close(found.scores, expected.scores, rtol=1e-13, atol=1e-10)
            torch.testing.assert_close(d.score(found.tags), found.scores, rtol=1e-13, atol=1e-10)


@needs_kernels
@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("batch", [1, 3, 4, 5, 9])
def test_sentences_that_are_decoded_together_do_not_change_each_other(batch: int) -> None:
    """Best paths are searched for several sentences at once, step by step, whatever their lengths and constraints."""
    chains = Potentials(*potentials(batch, 11, 9), ragged(batch, 11).flip(0))
    chains.emissions[batch // 2, 0] = -torch.inf  # no path at all
    with use_backend("cpu"):
        backend = select(torch.device("cpu"))
        alone = [backend.topk(chains.rows(torch.tensor([b])), 3) for b in range(batch)]
        together = backend.topk(chains, 3)
        assert torch.equal(together.tags, torch.cat([paths.tags for paths in alone]))
        assert torch.equal(together.scores, torch.cat([paths.scores for paths in alone]))
        assert torch.equal(backend.viterbi(chains).tags, together.tags[:, :1])
        assert backend.decode(chains) == Backend.decode(backend, chains)


def of_single_sentences(chains: Potentials, tags: Tensor, along: Tensor, mass: Tensor, together: bool) -> list[Tensor]:
    """Every answer that several sentences can get in one go, given to all of them or to each alone."""
    backend = select(torch.device("cpu"))
    rows = [torch.arange(len(tags))] if together else [torch.tensor([b]) for b in range(len(tags))]
    found = []
    for row in rows:
        p = chains.rows(row)
        x = backend.expectations(p, "counts")
        of_path = backend.log_likelihood(p, tags[row])
        target = [y * mass[row].view(-1, *[1] * (y.dim() - 1)) for y in (along[row].softmax(-1), x.pairs)]
        of_target = backend.match(p, mass[row], *target)
        answers = [backend.log_partition(p), *x[:3], *of_path[:3], *of_target[:3]]
        found.append([*answers, *backend.directional(p, along[row], None), backend.expectations(p, "none").marginals])
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


@needs_kernels
@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("batch", "tags"), [(5, 3), (8, 9), (13, 18), (21, 33)])
def test_sentences_in_the_lanes_of_vectors_do_not_change_each_other(batch: int, tags: int, dtype: torch.dtype) -> None:
    """Whatever their lengths, also where one is impossible, not a number, too much for float64, or has no path."""
    length = 23
    e, a, s, t = (x.to(dtype) for x in potentials(batch, length, tags))
    chains = Potentials(e, a, s, t, ragged(batch, length).flip(0))
    chains.lengths[1] = 1
    generator = torch.Generator().manual_seed(0)
    gold = torch.randint(tags, (batch, length), generator=generator)
    gold[2] = -1
    along, mass = torch.randn(e.shape, generator=generator, dtype=dtype), torch.rand(batch, generator=generator)
    mass[0] = 0
    e[0] *= 300
    e[3, 0] = -torch.inf
    e[batch - 1, 0, 0] = torch.nan
    for emissions in (e, e.transpose(0, 1).contiguous().transpose(0, 1)):
        p = chains._replace(emissions=emissions)
        alone, together = (of_single_sentences(p, gold, along, mass.to(dtype), x) for x in (False, True))
        for mine, theirs in zip(together, alone, strict=True):
            exact = dtype == torch.float64
            torch.testing.assert_close(
                mine, theirs, rtol=1e-11 if exact else 1e-5, atol=1e-11 if exact else 1e-5, equal_nan=True
            )


@needs_kernels
def test_many_python_threads_may_ask_at_once() -> None:
    with use_backend("cpu"):
        expected = chain(6, 20, 9).marginals

    def ask(_: int) -> bool:
        with use_backend("cpu"):
            return torch.equal(chain(6, 20, 9).marginals, expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(64)))


@needs_kernels
def test_sentences_are_shared_out_over_threads_without_a_difference() -> None:
    threads = torch.get_num_threads()
    answers = []
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            with use_backend("cpu"):
                d = chain(64, 60, 33, dtype=torch.float32)
                answers.append((d.log_partition, d.marginals, d.transition_counts, d.topk(3).tags, d.argmax.tags))
    finally:
        torch.set_num_threads(threads)
    for one, four in zip(*answers, strict=True):
        assert torch.equal(one, four)


@needs_kernels
def test_a_long_sentence_after_short_ones_finds_memory() -> None:
    with use_backend("cpu"):
        for length in (2, 3000, 5):
            d = chain(2, length, 9)
            torch.testing.assert_close(d.marginals.sum(-1), d.mask.double())


def test_without_a_library_the_reason_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "find_library", lambda: None)
    assert "compiler" in (Native().unavailable() or "")


def test_a_library_of_another_machine_is_reported_not_fatal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / f"_cpu{EXTENSION_SUFFIXES[0]}"
    damaged.write_bytes(b"not a shared object")
    monkeypatch.setattr(native, "find_library", lambda: damaged)
    assert Native().unavailable()
