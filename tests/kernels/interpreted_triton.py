"""The Triton kernels, interpreted on the CPU, against the reference.

TRITON_INTERPRET=1 must be set before Triton is imported and holds for the whole process, so ``test_triton.py`` runs
this file in a process of its own.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from structkd.crf import CRF, LinearChainCRF
from structkd.kernels import Backend, Potentials, available_backends, scores, use_backend
from structkd.kernels.reference import Reference
from structkd.kernels.triton_backend import Triton
from tests.kernels.chains import KINDS, potentials, ragged
from tests.kernels.side_by_side import answers, compare, draw

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # log(0) is -inf, and NumPy says so
TRITON, REFERENCE = Triton(), Reference()


def test_the_interpreter_makes_the_backend_available() -> None:
    assert "triton" in available_backends()


@pytest.mark.parametrize("tags", [1, 5, 17])
@pytest.mark.parametrize("length", [1, 3, 17])
def test_kernels_agree_with_the_reference(length: int, tags: int) -> None:
    p = draw("shared", length, tags, torch.float64, batch=2)
    short = length < 17  # the interpreter is slow
    compare(answers(TRITON, p, everything=short), answers(REFERENCE, p, everything=short), 1e-11)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(("length", "tags"), [(1, 5), (6, 5), (3, 17)])
def test_kernels_agree_where_transitions_differ(kind: str, length: int, tags: int) -> None:
    p = draw(kind, length, tags, torch.float64, batch=2)
    compare(answers(TRITON, p), answers(REFERENCE, p), 1e-11)


def test_float32_scores_up_to_50_with_constraints_are_as_exact_as_float32_can_say() -> None:
    p = draw("shared", 9, 5, torch.float32, batch=2, scale=20.0)
    p.transitions[:, 3] = -1e4
    p.transitions[2, 3] = 1.0
    compare(answers(TRITON, p), answers(REFERENCE, p), 1e-6)


@pytest.mark.parametrize("value", [-1e4, -torch.inf])
def test_the_best_path_is_found_though_it_is_lost_from_both_ends(value: float) -> None:
    """Tags do not mix. The first and the last words speak for tag 0 and hide tag 1, which wins in the middle."""
    p = draw("shared", 38, 2, torch.float64, batch=2, scale=0.0)
    p.transitions[0, 1] = p.transitions[1, 0] = value
    p.emissions[0] = -50.0
    p.emissions[0, :9, 0] = p.emissions[0, 9:29, 1] = p.emissions[0, 29:, 0] = 50.0
    found = TRITON.expectations(p, "counts")
    for mine, theirs in zip(found[:3], REFERENCE.expectations(p, "counts")[:3], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
    assert (found.marginals[0, :, 1] > 0.999).all()


@pytest.mark.parametrize("kind", KINDS)
def test_edges_and_their_direction_agree(kind: str) -> None:
    p = draw(kind, 6, 5, torch.float64, batch=2)
    along = torch.randn(2, 5, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for mine, theirs in zip(TRITON.directional(p, None, along), REFERENCE.directional(p, None, along), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


def leaves(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [x.requires_grad_() for x in potentials(2, 6, 5, dtype=dtype)]


def test_gradients_of_every_kind_agree() -> None:
    grads = []
    tags = torch.tensor([[0, 2, 1, 4, 3, 0], [1, 1, 0, -1, -1, -1]])
    for name in ("reference", "triton"):
        x = leaves()
        with use_backend(name):
            d = LinearChainCRF(*x, ragged(2, 6))
            loss = d.marginals.pow(2).sum() + d.transition_counts.pow(2).sum() + d.entropy.sum()
            loss = loss + d.log_prob(tags).sum() + d.score(tags.clamp(min=0)[:, None]).sum()
            grads.append(torch.autograd.grad(loss, x))
    for mine, theirs in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-11)


def test_likelihoods_are_differentiable_twice() -> None:
    second = []
    for name in ("reference", "triton"):
        x = leaves()
        with use_backend(name):
            value = LinearChainCRF(*x, ragged(2, 6)).log_prob(torch.zeros(2, 6, dtype=torch.int64)).sum()
            first = torch.autograd.grad(value, x, create_graph=True)
            second.append(torch.autograd.grad(sum(g.pow(2).sum() for g in first), x))
    for mine, theirs in zip(second[1], second[0], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-11)


def damaged(case: str) -> Potentials:
    """Chains that leave the range of float64 in exp space, or have no path; the second sentence is ordinary."""
    p = draw("by_sentence", 6, 3, torch.float64, batch=2)
    p.lengths.fill_(6)
    if case == "no legal path":
        p.transitions[0] = -torch.inf
    elif case == "every path costs -1e4":
        p.transitions[0] -= 1e4
        p.transitions[0, 0] -= 1e4
    elif case == "one tag is known":
        p.emissions[0, 2, [0, 2]] = -torch.inf
    else:  # tag 0 is ahead by 800 nats, and only tag 1 may go on
        p.emissions[0] = 0.0
        p.emissions[0, :3, 0] = 270.0
        p.transitions[0] = torch.tensor([[0.0, -torch.inf, 0.0], [0.0, 0.0, 0.0], [0.0, -torch.inf, 0.0]])
        p.end.copy_(torch.tensor([-torch.inf, 0.0, -torch.inf]))
    return p


@pytest.mark.parametrize("case", ["no legal path", "every path costs -1e4", "one tag is known", "the winner dies out"])
def test_rows_beyond_the_range_of_exp_space_are_done_again_in_log_space(case: str) -> None:
    p = damaged(case)
    compare(answers(TRITON, p, 4, everything=False), answers(REFERENCE, p, 4, everything=False), 1e-11)


def test_more_paths_than_there_are_come_without_duplicates_and_the_missing_ones_are_masked() -> None:
    p = draw("shared", 3, 2, torch.float64, batch=2)
    tags, scores = TRITON.topk(p, 11)
    for b, n in enumerate(p.lengths.tolist()):
        real = 2**n
        assert len({tuple(row) for row in tags[b, :real, :n].tolist()}) == real
        assert (tags[b, real:] == -1).all()
        assert torch.isneginf(scores[b, real:]).all()
        assert (scores[b, :real].diff() <= 0).all()


def test_ties_are_all_found_once() -> None:
    p = Potentials._make(x.zero_() if x.is_floating_point() else x for x in draw("shared", 4, 2, torch.float64))
    tags, scores = TRITON.topk(p, 16)
    assert len({tuple(row) for row in tags[0].tolist()}) == 16
    assert (scores[0] == 0).all()


def test_tags_that_are_no_path_are_refused_by_sentence() -> None:
    p = draw("shared", 4, 3, torch.float64)
    tags = torch.zeros(3, 4, dtype=torch.int64)
    tags[1, 0] = 3
    with pytest.raises(ValueError, match="sentence 1"):
        TRITON.log_likelihood(p, tags)
    tags[1] = -1
    assert torch.isneginf(TRITON.log_likelihood(p, tags).value[1])
    tags[2, 0] = -1
    tags[2, 1] = 1
    TRITON.log_likelihood(p._replace(lengths=torch.tensor([4, 4, 1])), tags)


def test_nothing_beyond_a_length_and_no_fresh_memory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {kind: answers(TRITON, draw(kind, 3, 3, torch.float64, batch=2)) for kind in KINDS[1:]}
    empty = torch.empty

    def poisoned(*args: object, **kwargs: object) -> Tensor:
        x = empty(*args, **kwargs)  # type: ignore[call-overload]
        return x.fill_(torch.nan if x.is_floating_point() else -(2**31))

    monkeypatch.setattr(torch, "empty", poisoned)
    monkeypatch.setattr(
        Tensor, "new_empty", lambda x, *a, **k: poisoned(*a, **{"dtype": x.dtype, "device": x.device, **k})
    )
    for kind, clean in expected.items():
        p = draw(kind, 3, 3, torch.float64, batch=2)
        beyond = torch.arange(3) >= p.lengths[:, None]
        p.emissions[beyond] = torch.nan
        if p.by_position:
            p.transitions[beyond[:, 1:]] = torch.nan
        found = answers(TRITON, p)
        skipped = ("path scores",)  # inherited from the interface
        compare(
            {x: y for x, y in found.items() if x not in skipped}, {x: clean[x] for x in found if x not in skipped}, 0
        )


def test_strided_tensors_give_the_same_answers() -> None:
    p = draw("by_sentence", 4, 5, torch.float64, batch=2)
    strided = Potentials(
        p.emissions.transpose(0, 1).contiguous().transpose(0, 1),
        p.transitions.mT.contiguous().mT,
        torch.stack((p.start, p.start), 2)[..., 0],
        p.end.repeat_interleave(2)[::2],
        p.lengths.repeat_interleave(2)[::2],
    )
    compare(answers(TRITON, strided, everything=False), answers(TRITON, p, everything=False), 0)


def test_more_tags_than_fit_in_registers_are_answered_too() -> None:
    p = draw("shared", 2, 129, torch.float64, batch=1)
    compare(answers(TRITON, p), answers(REFERENCE, p), 1e-11)


@pytest.mark.parametrize("turned", [False, True])
def test_masks_are_read_like_everywhere(turned: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    for masks in (torch.rand(4, 5, generator=generator) < 0.6, torch.arange(5) < torch.tensor([[5], [1], [3], [2]])):
        mask = masks.t().contiguous().t() if turned else masks
        mine, theirs = TRITON.read_mask(mask), Backend().read_mask(mask)
        assert torch.equal(mine.lengths, theirs.lengths)
        assert mine[1:] == theirs[1:]
    assert TRITON.read_mask(torch.zeros(2, 3, dtype=torch.bool)).empty


@pytest.mark.parametrize("length", [1, 6])
def test_expectations_are_weighed_like_everywhere(length: int) -> None:
    p = draw("shared", length, 5, torch.float64, batch=3)
    _, unary, pairs, _ = TRITON.expectations(p, "counts")
    for weights in (torch.tensor([0.5, -2.0, 3.0]).double(), torch.tensor(0.25).double().expand(3), None):
        for counts in (pairs, None):
            mine, theirs = TRITON.weigh(weights, unary, counts, p), scores.weigh(weights, unary, counts, p)
            for x, y in zip(mine, theirs, strict=True):
                assert (x is None) == (y is None)
                if x is not None and y is not None:
                    torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_best_tags_become_lists() -> None:
    p = draw("shared", 6, 5, torch.float64, batch=3)
    p.emissions[1] = -torch.inf
    assert TRITON.decode(p) == Backend.decode(TRITON, p)
    assert TRITON.decode(p)[1] == [-1] * int(p.lengths[1])


@pytest.mark.parametrize("batch_first", [True, False])
def test_masks_may_be_anything_where_tags_are_decoded(batch_first: bool) -> None:
    crf = CRF(5, batch_first=batch_first, allow_masked_first=True)
    emissions = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    for mask in (scores.within(torch.tensor([6, 1, 3, 4]), 6), torch.rand(4, 6, generator=torch.Generator()) < 0.7):
        mask[:, 2] = True
        given = (emissions, mask) if batch_first else (emissions.transpose(0, 1), mask.transpose(0, 1))
        with use_backend("reference"):
            expected = crf.decode(*given)
        with use_backend("triton"):
            assert crf.decode(*given) == expected
