"""CRF takes the place of torchcrf.CRF, and does what that one does not: masks with holes, constraints, languages."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from torch import Tensor

from structkd.crf import CRF
from structkd.labels.transitions import LegalTransitions
from tests.oracles.brute_force import BruteForceCRF

torchcrf = pytest.importorskip("torchcrf", reason="pytorch-crf, the second opinion, is not installed")
pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.filterwarnings("ignore:where received a uint8")]
B, T, C = 4, 6, 5


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    emissions = torch.randn(B, T, C, generator=generator, requires_grad=True)
    tags = torch.randint(C, (B, T), generator=generator)
    mask = torch.arange(T) < torch.tensor([6, 1, 4, 2])[:, None]
    return emissions, tags, mask


def both(batch_first: bool = True) -> tuple[CRF, torch.nn.Module]:
    torch.manual_seed(1)
    ours, theirs = CRF(C, batch_first), torchcrf.CRF(C, batch_first)
    for parameter in theirs.parameters():
        torch.nn.init.uniform_(parameter, -2, 2)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_state_dicts_load_both_ways() -> None:
    ours, theirs = both()
    theirs.load_state_dict(ours.state_dict())
    constrained = CRF(C, constraints=everything(C))
    constrained.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(constrained.state_dict())
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


def everything(tags: int) -> LegalTransitions:
    on = torch.ones(tags, tags, dtype=torch.bool)
    return LegalTransitions(on[0].clone(), on, on[0].clone())


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "token_mean"])
@pytest.mark.parametrize("masked", [True, False, "bytes"])
def test_likelihood_and_gradients_are_those_of_pytorch_crf(
    batch: tuple[Tensor, ...], batch_first: bool, reduction: str, masked: bool | str
) -> None:
    ours, theirs = both(batch_first)
    found = []
    for crf in (ours, theirs):
        emissions, tags, mask = (x if batch_first else x.transpose(0, 1) for x in batch)
        kept = (mask.byte() if masked == "bytes" and crf is ours else mask) if masked else None
        value = crf(emissions, tags, mask=kept, reduction=reduction)
        grads = torch.autograd.grad(value.sum(), [batch[0], *crf.parameters()])
        found.append([value, *grads])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
def test_decoding_is_that_of_pytorch_crf(batch: tuple[Tensor, ...], batch_first: bool) -> None:
    ours, theirs = both(batch_first)
    emissions, _, mask = (x if batch_first else x.transpose(0, 1) for x in batch)
    assert ours.decode(emissions, mask) == theirs.decode(emissions, mask)
    assert ours.decode(emissions) == theirs.decode(emissions)


def test_marginals_are_the_gradient_of_the_normaliser_of_pytorch_crf(batch: tuple[Tensor, ...]) -> None:
    ours, theirs = both()
    emissions, _, mask = batch
    z = theirs._compute_normalizer(emissions.transpose(0, 1), mask.t())
    torch.testing.assert_close(ours.marginals(emissions, mask), torch.autograd.grad(z.sum(), emissions)[0])


@pytest.mark.parametrize("num_tags", [0, -1])
def test_a_number_of_tags_below_one_is_refused(num_tags: int) -> None:
    with pytest.raises(ValueError, match=f"invalid number of tags: {num_tags}"):
        CRF(num_tags)


def test_initial_scores_are_small_and_parameters_have_their_shapes() -> None:
    crf = CRF(C)
    assert not crf.batch_first
    shapes = {name: tuple(p.shape) for name, p in crf.named_parameters()}
    assert shapes == {"start_transitions": (C,), "end_transitions": (C,), "transitions": (C, C)}
    assert all((p.abs() <= 0.1).all() and p.std() > 0 for p in crf.parameters())


def test_errors_are_those_of_pytorch_crf(batch: tuple[Tensor, ...]) -> None:
    emissions, tags, mask = (x.detach() for x in batch)
    late = mask.clone()
    late[1, 0] = False
    cases = [
        ((emissions[0], tags), {}, "emissions must have dimension of 3, got 2"),
        ((emissions[..., :3], tags), {}, "expected last dimension of emissions is 5, got 3"),
        (
            (emissions, tags[:2]),
            {},
            r"the first two dimensions of emissions and tags must match, got \(4, 6\) and \(2, 6\)",
        ),
        (
            (emissions, tags, mask[:2]),
            {},
            r"the first two dimensions of emissions and mask must match, got \(4, 6\) and",
        ),
        ((emissions, tags, late), {}, "mask of the first timestep must all be on"),
        ((emissions, tags), {"reduction": "foo"}, "invalid reduction: foo"),
    ]
    for crf in both():
        for arguments, options, message in cases:
            with pytest.raises(ValueError, match=message):
                crf(*arguments, **options)
        with pytest.raises(ValueError, match="first two dimensions of emissions and mask"):
            crf.decode(emissions, mask[:2])
        with pytest.raises(ValueError, match="emissions must have dimension of 3"):
            crf.decode(emissions[0])


def test_a_mask_with_holes_is_the_sentence_without_the_holes(batch: tuple[Tensor, ...]) -> None:
    ours, _ = both()
    emissions, tags, _ = batch
    mask = torch.tensor([[1, 0, 1, 1, 0, 1], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]]).bool()
    found = ours(emissions, tags, mask, reduction="none")
    decoded, marginals = ours.decode(emissions, mask), ours.marginals(emissions, mask)
    d = ours.distribution(emissions, mask)
    for b in range(B):
        kept = mask[b]
        alone = (emissions[b, kept][None], tags[b, kept][None])
        torch.testing.assert_close(found[b], ours(*alone))
        assert decoded[b] == ours.decode(alone[0])[0]
        torch.testing.assert_close(marginals[b, kept], ours.marginals(alone[0])[0])
        assert (marginals[b, ~kept] == 0).all()
        assert d.positions[b][d.positions[b] >= 0].tolist() == kept.nonzero()[:, 0].tolist()
        assert (d.positions[b, int(kept.sum()) :] == -1).all()
    (grad,) = torch.autograd.grad(found.sum(), emissions)
    assert (grad[~mask] == 0).all()


def test_a_masked_first_step_is_moved_away_where_that_is_allowed(batch: tuple[Tensor, ...]) -> None:
    emissions, tags, _ = batch
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]]).bool()
    crf = CRF(C, True, allow_masked_first=True)
    found = crf(emissions, tags, mask, reduction="none")
    for b in range(B):
        torch.testing.assert_close(found[b], crf(emissions[b, mask[b]][None], tags[b, mask[b]][None]))
    with pytest.raises(ValueError, match="first timestep"):
        CRF(C, True)(emissions, tags, mask)


def test_a_sentence_without_any_step_is_named(batch: tuple[Tensor, ...]) -> None:
    emissions, tags, mask = batch
    mask = mask.clone()
    mask[2] = False
    crf = CRF(C, True, allow_masked_first=True)
    for ask in (lambda: crf.distribution(emissions, mask), lambda: crf(emissions, tags, mask)):
        with pytest.raises(ValueError, match="sentence 2"):
            ask()


def test_positions_without_holes_count_up(batch: tuple[Tensor, ...]) -> None:
    emissions, _, mask = batch
    d = both()[0].distribution(emissions, mask)
    assert d.positions[2].tolist() == [0, 1, 2, 3, -1, -1]
    assert d.lengths.tolist() == [6, 1, 4, 2]


def test_constraints_hold_in_training_and_in_decoding(batch: tuple[Tensor, ...]) -> None:
    emissions, _, mask = batch
    legal = LegalTransitions(torch.arange(C) != 1, ~torch.eye(C, dtype=torch.bool), torch.arange(C) != 2)
    crf = CRF(C, True, constraints=legal)
    d = crf.distribution(emissions, mask)
    assert (d.transition_counts[:, ~legal.transitions] == 0).all()
    for path in crf.decode(emissions, mask):
        assert path[0] != 1
        assert path[-1] != 2
        assert all(a != b for a, b in itertools.pairwise(path))
    minus = [
        x.detach().masked_fill(~legal_x, -torch.inf)
        for x, legal_x in zip(
            (crf.transitions, crf.start_transitions, crf.end_transitions),
            (legal.transitions, legal.start, legal.end),
            strict=True,
        )
    ]
    truth = BruteForceCRF(emissions, *minus, mask.sum(1))
    torch.testing.assert_close(d.marginals.double(), truth.marginals, rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(d.log_partition.sum(), crf.transitions)
    assert (grad[~legal.transitions] == 0).all()
    illegal = crf(emissions, torch.zeros(B, T, dtype=torch.int64), mask, reduction="none")
    assert torch.isneginf(illegal).tolist() == [True, False, True, True]
    with pytest.raises(ValueError, match="constraints"):
        CRF(3, constraints=legal)


def test_languages_add_an_offset_to_the_shared_transitions(batch: tuple[Tensor, ...]) -> None:
    emissions, tags, mask = batch
    crf = CRF(C, True, num_languages=2)
    languages = torch.tensor([0, 1, 1, 0])
    assert torch.equal(crf(emissions, tags, mask), crf(emissions, tags, mask, languages=languages))
    torch.nn.init.normal_(crf.language_transitions)
    found = crf(emissions, tags, mask, reduction="none", languages=languages)
    for b, language in enumerate(languages.tolist()):
        one = CRF(C, True)
        state = crf.state_dict()
        offsets = state.pop("language_transitions")
        state["transitions"] = state["transitions"] + offsets[language] - offsets.mean(0)
        one.load_state_dict(state)
        torch.testing.assert_close(found[b], one(emissions[b : b + 1], tags[b : b + 1], mask[b : b + 1]))
    unknown = crf(emissions, tags, mask, languages=torch.full_like(languages, -1))
    torch.testing.assert_close(unknown, crf(emissions, tags, mask), msg="an unknown language has shared transitions")
    assert crf.decode(emissions, mask, languages=languages) != []
    found.sum().backward()
    assert crf.language_transitions.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="num_languages"):
        CRF(C, True)(emissions, tags, mask, languages=languages)


def test_a_crf_can_be_copied_pickled_and_moved_to_another_dtype(batch: tuple[Tensor, ...]) -> None:
    emissions, tags, mask = batch
    crf = CRF(C, True, constraints=everything(C))
    expected = crf(emissions, tags, mask)
    for twin in (copy.deepcopy(crf), pickle.loads(pickle.dumps(crf))):
        assert torch.equal(twin(emissions, tags, mask), expected)
    torch.testing.assert_close(crf.double()(emissions.double(), tags, mask), expected.double(), rtol=1e-5, atol=1e-5)


def test_two_backward_passes_through_the_loss_are_possible(batch: tuple[Tensor, ...]) -> None:
    ours, theirs = both()
    emissions, tags, mask = batch
    found = []
    for crf in (ours, theirs):
        (first,) = torch.autograd.grad(crf(emissions, tags, mask), emissions, create_graph=True)
        found.append(torch.autograd.grad(first.pow(2).sum(), [emissions, *crf.parameters()]))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
