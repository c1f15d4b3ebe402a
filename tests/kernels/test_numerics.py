"""Numerics as a contract: constraints, impossible sentences, long sentences, and memory that is not ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.kernels import use_backend
from tests.kernels.chains import chain, potentials, ragged


def bioes(num_types: int) -> Tensor:
    """Legal pairs of O, then B, I, E, S of every type."""
    legal = torch.zeros(1 + 4 * num_types, 1 + 4 * num_types, dtype=torch.bool)
    opens = [0] + [1 + 4 * t + i for t in range(num_types) for i in (0, 3)]
    for t in range(num_types):
        b, i, e, s = range(1 + 4 * t, 5 + 4 * t)
        legal[b, [i, e]] = legal[i, [i, e]] = True
        legal[e, opens] = legal[s, opens] = True
    legal[0, opens] = True
    return legal


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory is full of NaN (or of a number that is no tag)."""
    empty, empty_like = torch.empty, torch.empty_like

    def poison(x: Tensor) -> Tensor:
        return x.fill_(torch.nan if x.is_floating_point() else -(2**31))

    monkeypatch.setattr(torch, "empty", lambda *a, **k: poison(empty(*a, **k)))
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: poison(empty_like(*a, **k)))
    monkeypatch.setattr(Tensor, "new_empty", lambda x, *a, **k: poison(empty(*a, dtype=x.dtype, device=x.device, **k)))


def questions(d: LinearChainCRF) -> Iterator[tuple[str, Tensor]]:
    yield "log_partition", d.log_partition
    yield "marginals", d.marginals
    yield "transition_counts", d.transition_counts
    yield "edge_marginals", d.edge_marginals
    yield "entropy", d.entropy
    yield "tags", d.argmax.tags
    yield "best", d.argmax.scores
    yield "k tags", d.topk(3).tags
    yield "k best", d.topk(3).scores
    yield "sample", d.sample(2, generator=torch.Generator().manual_seed(0))
    tags = d.argmax.tags
    yield "log_prob", d.log_prob(tags)
    yield "score", d.score(tags[:, None])


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("kind", ["shared", "by_sentence", "by_position"])
def test_nothing_beyond_a_length_and_no_fresh_memory_is_read(backend: str, kind: str) -> None:
    e, a, s, t = potentials(4, 6, 5, kind)
    lengths = ragged(4, 6)
    clean = LinearChainCRF(e, a, s, t, lengths)
    dirty = e.clone()
    dirty[~clean.mask] = torch.nan
    if kind == "by_position":
        a = a.clone()
        a[~clean.mask[:, 1:]] = torch.nan
    leaves = [x.clone().requires_grad_() for x in (dirty, a, s, t)]
    d = LinearChainCRF(*leaves, lengths)
    for (name, mine), (_, expected) in zip(questions(d), questions(clean), strict=True):
        assert torch.equal(mine, expected), name
    score = d.expected_score(
        clean.marginals, clean.edge_marginals if kind == "by_position" else clean.transition_counts
    )
    loss = d.marginals.pow(2).sum() + d.entropy.sum() + d.log_prob(clean.argmax.tags).sum() + score.sum()
    for grad in torch.autograd.grad(loss, leaves):
        assert torch.isfinite(grad).all()
    assert (torch.autograd.grad(d.log_prob(clean.argmax.tags).sum(), leaves[0])[0][~clean.mask] == 0).all()


def test_padding_and_batch_order_change_nothing(backend: str) -> None:
    e, a, s, t = potentials(4, 6, 5)
    lengths = ragged(4, 6)
    d = LinearChainCRF(e, a, s, t, lengths)
    order = torch.tensor([2, 0, 3, 1])
    padded = torch.nn.functional.pad(e, (0, 0, 0, 7), value=3.0)
    moved = LinearChainCRF(padded[order], a, s, t, lengths[order])
    torch.testing.assert_close(moved.log_partition, d.log_partition[order], rtol=1e-13, atol=0)
    torch.testing.assert_close(moved.marginals[:, :6], d.marginals[order], rtol=1e-12, atol=1e-15)
    assert (moved.marginals[:, 6:] == 0).all()
    torch.testing.assert_close(moved.transition_counts, d.transition_counts[order], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(moved.entropy, d.entropy[order])
    assert torch.equal(moved.argmax.tags[:, :6], d.argmax.tags[order])
    assert torch.equal(moved.topk(4).tags[..., :6], d.topk(4).tags[order])


def test_a_sentence_alone_is_the_same_as_in_a_batch(backend: str) -> None:
    e, a, s, t = potentials(4, 6, 5)
    lengths = ragged(4, 6)
    d = LinearChainCRF(e, a, s, t, lengths)
    for b, n in enumerate(lengths.tolist()):
        one = LinearChainCRF(e[b : b + 1, :n], a, s, t)
        torch.testing.assert_close(one.log_partition[0], d.log_partition[b], rtol=1e-13, atol=0)
        torch.testing.assert_close(one.marginals[0], d.marginals[b, :n], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("value", [-1e4, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_hard_constraints_are_exact(backend: str, value: float, dtype: torch.dtype) -> None:
    legal = bioes(2)
    e, a, s, t = potentials(4, 9, 9, dtype=dtype, scale=3.0)
    leaves = [x.requires_grad_() for x in (e, torch.where(legal, a, value), s, t)]
    results = []
    for name in ("reference", backend):
        with use_backend(name):
            d = LinearChainCRF(*leaves, ragged(4, 9))
            loss = (d.marginals.pow(2).sum((1, 2)) + d.entropy + d.log_prob(d.argmax.tags)).sum()
            results.append([*torch.autograd.grad(loss, leaves), d.log_partition, d.marginals, d.transition_counts])
            assert (d.transition_counts[:, ~legal] == 0).all()
            assert (d.topk(5).tags[0, :, 1:] >= 0).all()
    for mine, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=2e-6)


def test_constraints_on_single_words_are_exact(backend: str) -> None:
    """-inf and -1e4 in emissions, start and end: the words' tags are known."""
    e, a, s, t = potentials(4, 6, 5)
    e[0, 2, [0, 1, 3, 4]] = -torch.inf
    e[1, :, 3] = -1e4
    s[0], t[4] = -torch.inf, -torch.inf
    with use_backend("reference"):
        expected = LinearChainCRF(e, a, s, t)
        expected = (expected.log_partition, expected.marginals, expected.entropy, expected.argmax.tags)
    d = LinearChainCRF(e, a, s, t)
    for mine, theirs in zip((d.log_partition, d.marginals, d.entropy, d.argmax.tags), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(d.marginals[0, 2, 2].item(), 1.0)


@pytest.mark.parametrize("where", ["transitions", "emissions", "start", "end"])
def test_a_sentence_with_no_legal_path_has_log_z_of_minus_infinity_and_no_gradient(backend: str, where: str) -> None:
    e, a, s, t = potentials(3, 4, 3, "by_sentence")
    {"transitions": a[1], "emissions": e[1, 2], "start": s[1], "end": t}[where].fill_(-torch.inf)
    lengths = torch.tensor([4, 3, 2])
    gone = torch.tensor([False, True, False]) if where != "end" else torch.ones(3, dtype=torch.bool)
    leaves = [x.requires_grad_() for x in (e, a, s, t)]
    d = LinearChainCRF(*leaves, lengths)
    assert torch.equal(torch.isneginf(d.log_partition), gone)
    tags = torch.zeros(3, 4, dtype=torch.int64)
    assert torch.equal(torch.isneginf(d.log_prob(tags)), gone)
    assert (d.argmax.tags[gone] == -1).all()
    assert torch.equal(d.topk(2).valid[:, 0], ~gone)
    assert (d.sample(3)[gone] == -1).all()
    assert (d.marginals[gone] == 0).all()
    assert (d.transition_counts[gone] == 0).all()
    for loss in (d.log_partition.sum(), d.log_prob(tags).sum(), d.marginals.pow(2).sum()):
        grads = torch.autograd.grad(loss, leaves, retain_graph=True)
        assert all(torch.isfinite(g).all() for g in grads)
        assert (grads[0][gone] == 0).all()
        assert (grads[1][gone] == 0).all()


def test_a_sentence_whose_every_path_breaks_a_soft_constraint_is_exact(backend: str) -> None:
    """Every path costs a whole number of -1e4: beyond float64 in exp space, ordinary in log space."""
    e, a, s, t = (x.requires_grad_() for x in potentials(2, 5, 3))
    low = torch.full_like(a, -1e4).detach()
    results = []
    for name in ("reference", backend):
        with use_backend(name):
            d = LinearChainCRF(e, a.detach() + low, s, t, torch.tensor([5, 2]))
            (grad,) = torch.autograd.grad(d.marginals.pow(2).sum(), e)
            results.append((d.log_partition, d.marginals, d.transition_counts, grad, d.argmax.scores))
    for mine, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    assert (results[1][0] < -9e3).all()


def test_a_sentence_of_one_word_needs_no_transition(backend: str) -> None:
    e, a, s, t = potentials(3, 4, 2)
    d = LinearChainCRF(e, torch.full_like(a, -torch.inf), s, t, torch.tensor([4, 1, 1]))
    expected = (e[:, 0] + s + t).logsumexp(-1)
    expected[0] = -torch.inf
    torch.testing.assert_close(d.log_partition, expected)
    assert (d.marginals[:, 1:] == 0).all()


def test_large_starts_and_ends_are_exact(backend: str) -> None:
    e, a, s, t = potentials(5, 3, 4)
    s[1], t[2] = 600.0, 500.0
    with use_backend("reference"):
        expected = LinearChainCRF(e, a, s, t, ragged(5, 3))
        expected = (expected.log_partition, expected.marginals)
    d = LinearChainCRF(e, a, s, t, ragged(5, 3))
    for mine, theirs in zip((d.log_partition, d.marginals), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("loss", [1000.0, 400.0])
def test_underflow_that_matters_is_noticed(backend: str, loss: float, batch: int) -> None:
    """Tag 0 wins by 900 nats over the first words, and loses more over the last ones, with little or nothing left."""
    e = torch.zeros(batch, 12, 2, dtype=torch.float64)
    e[:, :9, 0] = 100.0
    a = torch.tensor([[0.0, -1e4], [-1e4, 0.0]], dtype=torch.float64)
    e[:, 9:, 0] = -loss
    zero = torch.zeros(2, dtype=torch.float64)
    nothing = torch.zeros(batch, dtype=torch.float64)
    e.requires_grad_()
    d = LinearChainCRF(e, a, zero, zero)
    torch.testing.assert_close(d.log_partition, nothing, atol=1e-9, rtol=0)
    torch.testing.assert_close(d.marginals[..., 1], torch.ones(batch, 12, dtype=torch.float64))
    with torch.no_grad():
        torch.testing.assert_close(LinearChainCRF(e, a, zero, zero).log_partition, nothing, atol=1e-9, rtol=0)
    assert (d.sample(3) == 1).all()


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("value", [-1e4, -torch.inf])
def test_the_best_path_is_found_though_it_is_lost_from_both_ends(backend: str, value: float, batch: int) -> None:
    """Tags do not mix. The first and the last words speak for tag 0 and hide tag 1, which wins in the middle."""
    e = torch.full((batch, 38, 2), -50.0, dtype=torch.float64)
    e[:, :9, 0] = e[:, 9:29, 1] = e[:, 29:, 0] = 50.0
    e[1:] = 0.0  # beside sentences without such troubles
    a = torch.tensor([[0.0, value], [value, 0.0]], dtype=torch.float64)
    leaves = [x.requires_grad_() for x in (e, a, torch.zeros(2).double(), torch.zeros(2).double())]
    results = []
    for name in ("reference", backend):
        with use_backend(name):
            d = LinearChainCRF(*leaves)
            (along,) = torch.autograd.grad(d.marginals[..., 0].cumsum(1).sum(), leaves[0])
            results.append((d.log_partition, d.marginals, d.transition_counts, along))
            with torch.no_grad():
                results[-1] += (LinearChainCRF(*leaves).log_partition,)
    for mine, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)
    assert (results[1][1][0, :, 1] > 0.999).all()


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("constrained", [False, True])
def test_long_sentences_are_as_exact_as_float32_can_say(backend: str, constrained: bool, batch: int) -> None:
    """T = 512, scores up to 50: marginals within 1e-7, derivatives within 1e-6, counts within 1e-6 relative."""
    generator = torch.Generator().manual_seed(0)
    tags = 17
    e = (torch.rand(batch, 512, tags, generator=generator) * 2 - 1) * 50
    a = (torch.rand(tags, tags, generator=generator) * 2 - 1) * 50
    s, t = torch.zeros(tags), torch.zeros(tags)
    if constrained:
        a = torch.where(bioes(4), a, -1e4)
    lengths = torch.tensor([512, 300, 511, 40, 1][:batch])
    direction = torch.randn(batch, 512, tags, generator=generator)
    results = []
    for name, dtype in (("reference", torch.float64), (backend, torch.float32)):
        x = e.to(dtype).requires_grad_()
        w = a.to(dtype).requires_grad_()
        with use_backend(name):
            d = LinearChainCRF(x, w, s.to(dtype), t.to(dtype), lengths)
            (along,) = torch.autograd.grad((d.marginals * direction.to(dtype)).sum(), x, retain_graph=True)
            (first,) = torch.autograd.grad(d.log_partition.sum(), w)
        results.append([y.detach().double() for y in (d.marginals, along, d.transition_counts, first)])
    for (mine, theirs), (atol, rtol) in zip(
        zip(results[1], results[0], strict=True), ((1e-7, 0), (1e-6, 0), (1e-12, 1e-6), (1e-12, 1e-6)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=atol, rtol=rtol)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_emissions_give_float32_answers_and_half_gradients(backend: str, dtype: torch.dtype) -> None:
    e, a, s, t = potentials(2, 30, 5, dtype=torch.float32)
    half = e.to(dtype).requires_grad_()
    d = LinearChainCRF(half, a, s, t)
    assert d.log_partition.dtype == d.marginals.dtype == d.argmax.scores.dtype == torch.float32
    exact = LinearChainCRF(half.detach().double(), a.double(), s.double(), t.double())
    torch.testing.assert_close(d.log_partition.double(), exact.log_partition, rtol=1e-6, atol=1e-5)
    d.log_partition.sum().backward()
    assert half.grad is not None
    assert half.grad.dtype == dtype


def test_tensors_of_the_caller_are_never_changed(backend: str) -> None:
    leaves = [x.requires_grad_() for x in potentials(3, 5, 4)]
    copies = [x.detach().clone() for x in leaves]
    d = LinearChainCRF(*leaves, ragged(3, 5))
    for _ in questions(d):
        pass
    (d.entropy.sum() + d.log_partition.sum()).backward()
    assert all(torch.equal(x, y) for x, y in zip(leaves, copies, strict=True))


def test_strided_tensors_give_the_same_answers(backend: str) -> None:
    e, a, s, t = potentials(3, 6, 4)
    d = LinearChainCRF(e, a, s, t, ragged(3, 6))
    strided = LinearChainCRF(
        e.transpose(0, 1).contiguous().transpose(0, 1),
        a.t().contiguous().t(),
        torch.stack((s, s), 1)[:, 0],
        t.flip(0).flip(0),
        ragged(3, 6).repeat_interleave(2)[::2],
    )
    sliced = LinearChainCRF(torch.cat((e, e), 2)[..., :4], a, s, t, ragged(3, 6))
    for other in (strided, sliced):
        for (name, mine), (_, expected) in zip(questions(other), questions(d), strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-14, msg=name)


def test_results_do_not_depend_on_the_number_of_threads(backend: str) -> None:
    d = chain(8, 40, 9)
    expected = (d.log_partition, d.marginals, d.transition_counts)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        d = chain(8, 40, 9)
        for mine, theirs in zip((d.log_partition, d.marginals, d.transition_counts), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-15)
    finally:
        torch.set_num_threads(threads)
