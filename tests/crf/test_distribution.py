"""LinearChainCRF against enumeration and golden values of the literature."""

from __future__ import annotations

import math

import pytest
import torch

from structkd.crf import LinearChainCRF, require_finite
from structkd.errors import DataError
from structkd.labels.transitions import LegalTransitions
from tests.kernels.chains import KINDS, potentials, ragged
from tests.oracles.brute_force import BruteForceCRF

pytestmark = pytest.mark.usefixtures("backend")
SHAPES = [(1, 3), (2, 1), (4, 3), (5, 2)]


def pair(kind: str, length: int, tags: int, seed: int = 0) -> tuple[LinearChainCRF, BruteForceCRF]:
    x, lengths = potentials(3, length, tags, kind, seed=seed), ragged(3, length)
    return LinearChainCRF(*x, lengths), BruteForceCRF(*x, lengths)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "tags"), SHAPES)
def test_answers_equal_enumeration(kind: str, length: int, tags: int) -> None:
    d, truth = pair(kind, length, tags)
    e, other = pair("shared" if kind == "by_position" else kind, length, tags, seed=1)
    torch.testing.assert_close(d.log_partition, truth.log_partition)
    torch.testing.assert_close(d.marginals, truth.marginals)
    torch.testing.assert_close(d.transition_counts, truth.transition_counts)
    torch.testing.assert_close(d.edge_marginals, truth.edge_marginals)
    torch.testing.assert_close(d.entropy, truth.entropy)
    torch.testing.assert_close(d.argmax, truth.argmax)
    torch.testing.assert_close(d.cross_entropy(e), truth.cross_entropy(other))
    torch.testing.assert_close(e.cross_entropy(d), other.cross_entropy(truth))
    torch.testing.assert_close(d.kl(e), truth.kl(other))
    torch.testing.assert_close(d.tempered(2.5).log_partition, truth.tempered(2.5).log_partition)
    known = torch.randint(-1, tags, (3, length), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(d.log_prob_partial(known), truth.log_prob_partial(known))
    pairs = e.edge_marginals if kind == "by_position" else e.transition_counts
    torch.testing.assert_close(d.expected_score(e.marginals, pairs), truth.expected_score(e.marginals, pairs))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "tags"), SHAPES)
@pytest.mark.parametrize("k", [1, 4, 40])
def test_k_best_equal_enumeration_and_missing_ones_are_masked(kind: str, length: int, tags: int, k: int) -> None:
    d, truth = pair(kind, length, tags)
    torch.testing.assert_close(d.topk(k), truth.topk(k))
    best = d.topk(k)
    for b, n in enumerate(d.lengths.tolist()):
        assert int(best.valid[b].sum()) == min(k, tags**n)
        kept = [tuple(path) for path in best.tags[b][best.valid[b]].tolist()]
        assert len(set(kept)) == len(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_probabilities_of_paths_equal_enumeration(kind: str) -> None:
    d, truth = pair(kind, 4, 3)
    best = truth.topk(5).tags
    torch.testing.assert_close(d.score(best), truth.score(best))
    torch.testing.assert_close(d.log_prob(best), truth.log_prob(best))
    torch.testing.assert_close(d.score(best[:, 1]), truth.score(best[:, 1]))
    torch.testing.assert_close(d.log_prob(best[:, 1]), truth.log_prob(best[:, 1]))


def test_worked_example_of_wang_et_al_2020() -> None:
    """Structure-level knowledge distillation, table 1: tags F, T; the steps differ in their potentials."""
    pairs = torch.tensor([[[2.0, 0.5], [0.5, 2.0]], [[1 / 3, 3.0], [4.0, 0.25]]], dtype=torch.float64).log()[None]
    zero = torch.zeros(2, dtype=torch.float64)
    d = LinearChainCRF(torch.zeros(1, 3, 2, dtype=torch.float64), pairs, zero, zero)
    assert d.log_partition.exp().item() == pytest.approx(18.958, abs=1e-3)
    paths = {
        "FFF": 0.035,
        "FFT": 0.316,
        "FTF": 0.105,
        "FTT": 0.007,
        "TFF": 0.009,
        "TFT": 0.079,
        "TTF": 0.422,
        "TTT": 0.026,
    }
    tags = torch.tensor([["FT".index(c) for c in path] for path in paths])
    expected = torch.tensor(list(paths.values()), dtype=torch.float64)
    torch.testing.assert_close(d.log_prob(tags[None])[0].exp(), expected, atol=5.1e-4, rtol=0)
    best = d.topk(2)
    assert best.tags[0].tolist() == [[1, 1, 0], [0, 0, 1]]
    assert best.scores[0].softmax(0).tolist() == pytest.approx([0.57, 0.43], abs=5e-3)
    assert d.marginals[0, :, 0].tolist() == pytest.approx([0.46, 0.44, 0.57], abs=5e-3)


def test_a_softmax_head_is_a_chain_without_transitions() -> None:
    e, _, _, _ = potentials(3, 5, 4)
    zero = torch.zeros(4, dtype=torch.float64)
    lengths = ragged(3, 5)
    d = LinearChainCRF(e, torch.zeros(4, 4, dtype=torch.float64), zero, zero, lengths)
    log_q = e.log_softmax(-1)
    torch.testing.assert_close(d.marginals, log_q.exp() * d.mask[..., None])
    torch.testing.assert_close(d.log_partition, (e.logsumexp(-1) * d.mask).sum(1))
    torch.testing.assert_close(d.entropy, -((log_q.exp() * log_q).sum(-1) * d.mask).sum(1))
    crf = LinearChainCRF(*potentials(3, 5, 4, seed=2), lengths)
    truth = BruteForceCRF(*potentials(3, 5, 4, seed=2), lengths)
    own = BruteForceCRF(e, torch.zeros(4, 4, dtype=torch.float64), zero, zero, lengths)
    torch.testing.assert_close(crf.kl(d), truth.kl(own))
    torch.testing.assert_close(d.kl(crf), own.kl(truth))


def test_kl_of_equal_chains_is_zero_and_cross_entropy_is_the_entropy() -> None:
    for dtype in (torch.float32, torch.float64):
        x = potentials(3, 60, 5, dtype=dtype, scale=10.0)
        d, same = LinearChainCRF(*x, ragged(3, 60)), LinearChainCRF(*(y.clone() for y in x), ragged(3, 60))
        torch.testing.assert_close(d.kl(same), torch.zeros(3, dtype=dtype), atol=1e-9, rtol=0)
        torch.testing.assert_close(d.cross_entropy(same), d.entropy)


def test_kl_to_a_chain_that_forbids_a_possible_pair_is_infinite() -> None:
    e, a, s, t = potentials(3, 4, 3)
    lengths = torch.tensor([4, 4, 1])
    forbids = a.clone()
    forbids[0, 1] = -torch.inf
    d, q = LinearChainCRF(e, a, s, t, lengths), LinearChainCRF(e, forbids, s, t, lengths)
    assert d.kl(q)[:2].tolist() == [math.inf, math.inf]
    assert torch.isfinite(d.kl(q)[2])
    assert torch.isfinite(q.kl(d)).all()
    assert (q.kl(d) >= -1e-12).all()


def test_samples_have_the_distribution_of_the_chain() -> None:
    x = potentials(1, 3, 3, scale=1.0)
    d, truth = LinearChainCRF(*x), BruteForceCRF(*x)
    n = 20000
    draws = d.sample(n, generator=torch.Generator().manual_seed(0))
    assert draws.shape == (1, n, 3)
    flat = draws[0] @ torch.tensor([9, 3, 1])
    seen = torch.bincount(flat, minlength=27).double() / n
    (p,) = truth._probabilities()
    assert ((seen - p).abs() < 4.5 * (p * (1 - p) / n).sqrt() + 1e-9).all()


def test_samples_are_minus_one_beyond_the_length() -> None:
    d, _ = pair("shared", 5, 3)
    draws = d.sample(4)
    assert torch.equal(draws >= 0, d.mask[:, None].expand(-1, 4, -1))


def test_conditioning_forbids_and_renormalises() -> None:
    d, truth = pair("shared", 4, 3)
    legal = LegalTransitions(
        torch.tensor([True, True, False]),
        torch.tensor([[True, True, False], [True, False, True], [True, True, True]]),
        torch.tensor([True, False, True]),
    )
    c = d.condition(legal)
    for b, (paths, p) in enumerate(zip(truth._paths, truth._probabilities(), strict=True)):
        good = (
            legal.start[paths[:, 0]] & legal.end[paths[:, -1]] & legal.transitions[paths[:, :-1], paths[:, 1:]].all(1)
        )
        n = paths.shape[1]
        onehot = torch.nn.functional.one_hot(paths, 3).double()
        expected = torch.einsum("m,mtc->tc", p * good / (p * good).sum(), onehot)
        torch.testing.assert_close(c.marginals[b, :n], expected)
    assert (c.transition_counts[:, ~legal.transitions] == 0).all()


def test_partial_tags_may_be_given_as_allowed_tags() -> None:
    d, _ = pair("shared", 4, 3)
    allowed = torch.ones(3, 4, 3, dtype=torch.bool)
    allowed[:, 1, 0] = False
    torch.testing.assert_close(d.log_prob_partial(allowed).exp(), 1 - d.marginals[:, 1, 0])


def test_unknown_tags_everywhere_have_probability_one() -> None:
    d, _ = pair("shared", 4, 3)
    torch.testing.assert_close(d.log_prob_partial(torch.full((3, 4), -1)), torch.zeros(3, dtype=torch.float64))


def test_a_row_of_minus_one_is_no_path() -> None:
    leaves = [x.requires_grad_() for x in potentials(3, 4, 3)]
    d = LinearChainCRF(*leaves, ragged(3, 4))
    tags = torch.zeros(3, 4, dtype=torch.int64)
    tags[1] = -1
    for found in (d.log_prob(tags), d.log_prob(tags[:, None])[:, 0], d.score(tags)):
        assert torch.isneginf(found).tolist() == [False, True, False]
        grads = torch.autograd.grad(found.sum(), leaves, retain_graph=True)
        assert all(torch.isfinite(g).all() for g in grads)
        assert (grads[0][1] == 0).all()


@pytest.mark.parametrize("bad", [-1, 3, 99, -7])
def test_a_tag_out_of_range_inside_a_sentence_is_refused_by_name(bad: int) -> None:
    d, _ = pair("shared", 4, 3)
    tags = torch.zeros(3, 4, dtype=torch.int64)
    tags[1, 1] = bad
    for ask in (d.log_prob, d.score, lambda y: d.log_prob(y[:, None])):
        with pytest.raises(ValueError, match="sentence 1"):
            ask(tags)


def test_what_stands_beyond_the_length_does_not_matter() -> None:
    d, _ = pair("shared", 4, 3)
    tags = torch.zeros(3, 4, dtype=torch.int64)
    expected = d.log_prob(tags)
    assert torch.equal(d.log_prob(tags.masked_fill(~d.mask, -100)), expected)


def test_ill_fitting_arguments_are_refused() -> None:
    e, a, s, t = potentials(3, 4, 3)
    for arguments, named in [
        ((e[0], a, s, t), "emissions"),
        ((e, a[:2], s, t), "transitions"),
        ((e, a, s[:2], t), "start_transitions"),
        ((e, a, s, t[:1]), "end_transitions"),
        ((e, a, s, t, torch.tensor([4, 4])), "lengths"),
        ((e, a, s, t, torch.tensor([4, 0, 4])), "lengths"),
        ((e, a, s, t, torch.tensor([4, 5, 4])), "lengths"),
    ]:
        with pytest.raises(ValueError, match=named):
            LinearChainCRF(*arguments)
    d = LinearChainCRF(e, a, s, t)
    with pytest.raises(ValueError, match="k must be"):
        d.topk(0)
    with pytest.raises(ValueError, match="temperature"):
        d.tempered(0.0)
    with pytest.raises(ValueError, match="tags"):
        d.log_prob(torch.zeros(3, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="same shape"):
        d.kl(LinearChainCRF(e, a, s, t, torch.tensor([4, 3, 4])))


def test_counts_are_not_enough_where_transitions_depend_on_the_position() -> None:
    d, _ = pair("by_position", 4, 3)
    with pytest.raises(ValueError, match="edge marginals"):
        d.expected_score(d.marginals, d.transition_counts)


def test_zero_times_minus_infinity_counts_as_zero() -> None:
    e, a, s, t = potentials(2, 3, 3)
    a[0, 1] = -torch.inf
    d = LinearChainCRF(e, a.requires_grad_(), s, t)
    score = d.expected_score(d.marginals, d.transition_counts)
    assert torch.isfinite(score).all()
    assert torch.isfinite(torch.autograd.grad(score.sum(), a)[0]).all()
    mass = torch.full((2, 3, 3), 0.1, dtype=torch.float64)
    assert torch.isneginf(d.expected_score(d.marginals, mass)).all()


def test_a_loss_that_is_not_finite_is_reported_with_the_sentence() -> None:
    require_finite(torch.tensor([1.0, 2.0]))
    with pytest.raises(DataError, match="en-17: inf"):
        require_finite(torch.tensor([1.0, math.inf]), ["en-16", "en-17"])
