"""Every objective against its formula over all C^n sequences, for each pair of heads and at several temperatures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.knowledge import PARTS, KnowledgeBatch, Question, Targets, collate, extract
from structkd.objective import OBJECTIVES, Objective, divergence, loss, make_objective, prepare
from tests.oracles.brute_force import BruteForceCRF

C, T, LENGTHS, K = 3, 4, [4, 2, 1], 5
HEADS = [("crf", "crf"), ("crf", "softmax"), ("softmax", "crf"), ("softmax", "softmax")]
CLOSE = {"atol": 2e-5, "rtol": 2e-5}


def parts(seed: int, head: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(*shape, generator=generator).double() for shape in ((3, T, C), (C, C), (C,), (C,))]
    return drawn if head == "crf" else [drawn[0], *(torch.zeros_like(part) for part in drawn[1:])]


def chain(seed: int, head: str = "crf") -> LinearChainCRF:
    return LinearChainCRF(*parts(seed, head), lengths=torch.tensor(LENGTHS))


def truth(seed: int, head: str = "crf", temperature: float = 1.0) -> BruteForceCRF:
    return BruteForceCRF(*parts(seed, head), lengths=torch.tensor(LENGTHS)).tempered(temperature)


def known(teacher: LinearChainCRF, temperature: float = 1.0) -> KnowledgeBatch:
    return collate(extract(teacher, Question(K, temperature=temperature, parts=PARTS)), T, C)


def ask(student: LinearChainCRF, knowledge: KnowledgeBatch, objective: Objective, temperature: float) -> Tensor:
    nothing = Targets(torch.zeros(3, T, C), torch.zeros(3, C, C))
    return loss(student, nothing, knowledge, objective, torch.zeros(3), temperature=temperature)


def at_words(p: Tensor, q: Tensor, mask: Tensor) -> Tensor:
    """-sum_i sum_c p(c at i) log q(c at i)."""
    return -(p * torch.where(mask[..., None], q, 1).log()).sum((1, 2))


def list_loss(t: BruteForceCRF, s: BruteForceCRF, *, weigh: bool) -> tuple[Tensor, Tensor]:
    """Cross-entropy from the k best, and the entropy of their weights."""
    best = t.topk(K)
    scores = best.scores if weigh else torch.where(best.valid, 0.0, -torch.inf)
    weights = scores.softmax(1)
    log_prob = torch.where(best.valid, s.log_prob(best.tags), 0)
    return -(weights * log_prob).sum(1), -torch.xlogy(weights, weights).sum(1)


def squared(difference: list[Tensor]) -> Tensor:
    """The mean over words of the variance over cells."""
    return torch.stack([(cells - cells.mean()).square().mean() for cells in difference]).mean()


def mean_squared_errors(t: BruteForceCRF, s: BruteForceCRF) -> tuple[Tensor, Tensor]:
    emission, substructure = [], []
    for b, n in enumerate(LENGTHS):
        e = s.emissions[b, :n] - t.emissions[b, :n]
        emission.append(squared(list(e)))
        start = s.start_transitions[b] - t.start_transitions[b]
        end = s.end_transitions[b] - t.end_transitions[b]
        words = [e[0] + start, *((s.transitions[b, i - 1] - t.transitions[b, i - 1]) + e[i] for i in range(1, n))]
        words[-1] = words[-1] + end
        substructure.append(squared(words))
    return torch.stack(emission), torch.stack(substructure)


def expected(name: str, t: BruteForceCRF, s: BruteForceCRF) -> tuple[Tensor, Tensor | None]:
    """Loss and entropy of the target, from all sequences."""
    own = at_words(t.marginals, torch.where(t.mask[..., None], t.marginals, 1), t.mask)
    if name in ("token", "posterior"):
        return at_words(t.marginals, s.marginals, t.mask), own
    if name == "emission":
        p = t.emissions.softmax(-1) * t.mask[..., None]
        return at_words(p, s.emissions.softmax(-1), t.mask), at_words(p, t.emissions.softmax(-1), t.mask)
    if name == "structural":
        return t.cross_entropy(s), t.entropy
    if name in ("topk", "topk_weighted"):
        return list_loss(t, s, weigh=name == "topk_weighted")
    if name == "posterior+topk_weighted":
        (a, h), (b, g) = expected("posterior", t, s), expected("topk_weighted", t, s)
        assert h is not None
        assert g is not None
        return (a + b) / 2, (h + g) / 2
    return mean_squared_errors(t, s)[name == "substructure_mse"], None


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(("teacher", "student"), HEADS)
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "nll"])
def test_loss_and_divergence_equal_enumeration(name: str, teacher: str, student: str, temperature: float) -> None:
    t, s = truth(0, teacher, temperature), truth(1, student, temperature)
    value, entropy = expected(name, t, s)
    ours, knowledge = chain(1, student), known(chain(0, teacher), temperature)
    objective = OBJECTIVES[name]()
    torch.testing.assert_close(ask(ours, knowledge, objective, temperature), temperature**2 * value, **CLOSE)
    lesson = prepare(objective, knowledge, ours.lengths)
    found = divergence(ours, lesson, objective, temperature=temperature)
    if entropy is None:
        assert found is None
    else:
        assert found is not None
        torch.testing.assert_close(found, value - entropy, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 3.0])
def test_what_is_extracted_is_the_teacher_at_that_temperature(temperature: float) -> None:
    t, knowledge = truth(0, "crf", temperature), known(chain(0), temperature)
    best = t.topk(K)
    torch.testing.assert_close(knowledge.marginals.double(), t.marginals, **CLOSE)
    torch.testing.assert_close(knowledge.transition_counts.double(), t.transition_counts, **CLOSE)
    torch.testing.assert_close(knowledge.entropy.double(), t.entropy, **CLOSE)
    assert torch.equal(knowledge.paths, best.tags)
    torch.testing.assert_close(knowledge.scores.double().softmax(1), best.scores.softmax(1), **CLOSE)


@pytest.mark.parametrize("name", ["token", "emission", "posterior"])
def test_local_temperature_softens_the_finished_posteriors_of_the_teacher_only(name: str) -> None:
    t, s, local = truth(0), truth(1), 2.25
    head = "softmax" if name == "token" else "crf"
    s = truth(1, head)
    q = t.emissions.softmax(-1) * t.mask[..., None] if name == "emission" else t.marginals
    soft = torch.where(t.mask[..., None], (torch.where(t.mask[..., None], q, 1).log() / local).softmax(-1), 0)
    p = s.emissions.softmax(-1) if name == "emission" else s.marginals
    objective, ours = make_objective(name, local_temperature=local), chain(1, head)
    torch.testing.assert_close(ask(ours, known(chain(0)), objective, 1.0), at_words(soft, p, t.mask), **CLOSE)
    found = divergence(ours, prepare(objective, known(chain(0)), ours.lengths), objective)
    assert found is not None
    least = at_words(soft, torch.where(soft > 0, soft, 1), t.mask)
    torch.testing.assert_close(found, at_words(soft, p, t.mask) - least, atol=1e-4, rtol=1e-4)


def test_scores_that_mean_the_same_emissions_cost_nothing_and_moved_ones_do() -> None:
    teacher, knowledge = chain(0), known(chain(0))
    shift = torch.randn(3, T, 1, generator=torch.Generator().manual_seed(3)).double()
    same = LinearChainCRF(teacher.emissions + shift, *list(teacher._p)[1:4], lengths=teacher.lengths)
    for name in ("emission_mse", "substructure_mse"):
        torch.testing.assert_close(
            ask(same, knowledge, OBJECTIVES[name](), 1.0), torch.zeros(3).double(), atol=1e-5, rtol=0
        )
    # A vector moved from the emissions to the neighbouring transitions leaves the distribution, not the scores.
    vector = torch.tensor([0.0, 1.0, -2.0]).double()
    moved = LinearChainCRF(
        torch.cat((teacher.emissions[:, :1], teacher.emissions[:, 1:] - vector), 1),
        teacher.transitions + vector,
        teacher.start_transitions,
        teacher.end_transitions,
        lengths=teacher.lengths,
    )
    torch.testing.assert_close(moved.marginals, teacher.marginals)
    assert ask(moved, knowledge, OBJECTIVES["emission_mse"](), 1.0)[0] > 0.1


def test_errors_of_scores_leave_out_what_is_forbidden() -> None:
    def forbidding(seed: int) -> LinearChainCRF:
        e, a, s, t = parts(seed, "crf")
        a[0, 1], s[2], t[0] = -torch.inf, -torch.inf, -torch.inf
        return LinearChainCRF(e.requires_grad_(), a.requires_grad_(), s, t, lengths=torch.tensor(LENGTHS))

    teacher, student = forbidding(0), forbidding(1)
    found = ask(student, known(teacher), OBJECTIVES["substructure_mse"](), 1.0)
    for b, n in enumerate(LENGTHS):
        words = []
        for i in range(n):
            cells = (student.emissions - teacher.emissions).detach()[b, i]
            cells = cells + (student.transitions - teacher.transitions).detach() if i else cells
            cells = cells + (student.start_transitions - teacher.start_transitions if i == 0 else 0)
            cells = cells + (student.end_transitions - teacher.end_transitions if i == n - 1 else 0)
            words.append(cells[cells.isfinite()])
        torch.testing.assert_close(found.detach()[b], squared(words), **CLOSE)
    found.sum().backward()
    assert student.emissions.grad is not None
    assert student.emissions.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "nll"])
def test_padding_and_the_order_of_the_batch_change_nothing(name: str) -> None:
    order, objective = torch.tensor([2, 0, 1]), OBJECTIVES[name]()
    items = extract(chain(0), Question(K, parts=PARTS))
    e, a, s, t = parts(1, "crf")
    padded = torch.cat((e, torch.full((3, 2, C), torch.nan).double()), 1)
    for b, n in enumerate(LENGTHS):
        padded[b, n:] = torch.nan
    plain, wide = (x.requires_grad_() for x in (e, padded[order]))
    lengths = torch.tensor(LENGTHS)
    nothing = [Targets(torch.zeros(3, n, C), torch.zeros(3, C, C)) for n in (T, T + 2)]
    here = loss(
        LinearChainCRF(plain, a, s, t, lengths), nothing[0], collate(list(items), T, C), objective, torch.zeros(3)
    )
    moved = collate([items[i] for i in order], T + 2, C)
    there = loss(LinearChainCRF(wide, a, s, t, lengths[order]), nothing[1], moved, objective, torch.zeros(3))
    torch.testing.assert_close(there, here[order], **CLOSE)
    here.sum().backward()
    there.sum().backward()
    assert plain.grad is not None
    assert wide.grad is not None
    torch.testing.assert_close(wide.grad[:, :T], plain.grad[order], **CLOSE)
    assert (wide.grad[:, T:] == 0).all()


@pytest.mark.parametrize("name", ["structural", "posterior", "token", "emission"])
def test_a_student_equal_to_its_teacher_diverges_by_nothing_and_never_by_less(name: str) -> None:
    objective, teacher = OBJECTIVES[name](), chain(0, "softmax" if name == "token" else "crf")
    items = [item._replace(entropy=item.entropy + 1e-3) for item in extract(teacher, Question(1, parts=PARTS))]
    found = divergence(teacher, prepare(objective, collate(list(items), T, C), teacher.lengths), objective)
    assert found is not None
    assert (found >= 0).all()
    torch.testing.assert_close(found, torch.zeros(3).double(), atol=1e-5, rtol=0)


def test_divergence_from_the_list_at_student_equal_teacher_is_the_mass_that_the_list_lacks() -> None:
    teacher = chain(0)
    mass = torch.where(truth(0).topk(K).valid, truth(0).log_prob(truth(0).topk(K).tags).exp(), 0).sum(1)
    objective = OBJECTIVES["topk_weighted"]()
    found = divergence(teacher, prepare(objective, known(teacher), teacher.lengths), objective)
    assert found is not None
    torch.testing.assert_close(found, -mass.log(), atol=1e-5, rtol=1e-5)


def test_divergence_is_unknown_where_the_entropy_is_and_where_nobody_knows_the_sentence() -> None:
    teacher, student, objective = chain(0), chain(1), OBJECTIVES["posterior"]()
    items = extract(teacher, Question(1))
    batch = collate([items[0]._replace(entropy=float("nan")), items[1], None], T, C)
    found = divergence(student, prepare(objective, batch, teacher.lengths), objective)
    assert found is not None
    assert found.isnan().tolist() == [True, False, True]
    assert ask(student, batch, objective, 1.0).isfinite().all()
