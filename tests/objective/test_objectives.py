from __future__ import annotations

import pytest
import torch

from structkd.crf import LinearChainCRF
from structkd.errors import UsageError
from structkd.knowledge import KnowledgeBatch, Targets, collate, extract, gold_targets, inconsistency, reconcile
from structkd.objective import (
    OBJECTIVES,
    Annealing,
    combine,
    loss,
    make_objective,
    nll,
    posterior,
    structural,
    topk_weighted,
    weighted,
)

C, LENGTHS = 3, [4, 2, 1]


def chain(seed: int, *, requires_grad: bool = False) -> LinearChainCRF:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*shape, generator=generator).double() for shape in ((3, 4, C), (C, C), (C,), (C,))]
    for part in parts:
        part.requires_grad_(requires_grad)
    return LinearChainCRF(*parts, lengths=torch.tensor(LENGTHS))


def known(teacher: LinearChainCRF, k: int) -> KnowledgeBatch:
    return collate(extract(teacher, k=k), 4, C)


def no_gold() -> Targets:
    return Targets(torch.zeros(3, 4, C), torch.zeros(3, C, C))


def distil(student: LinearChainCRF, knowledge: KnowledgeBatch, name: str, **options: float) -> torch.Tensor:
    return loss(student, no_gold(), knowledge, OBJECTIVES[name](), torch.zeros(3), **options)


def test_structural_loss_of_the_teacher_itself_is_its_entropy() -> None:
    teacher = chain(0)
    torch.testing.assert_close(
        distil(teacher, known(teacher, 1), "structural"), teacher.entropy.detach(), atol=1e-5, rtol=1e-5
    )


def test_structural_loss_is_the_cross_entropy_between_the_chains() -> None:
    teacher, student = chain(0), chain(1)
    torch.testing.assert_close(
        distil(student, known(teacher, 1), "structural"), teacher.cross_entropy(student), atol=1e-5, rtol=1e-5
    )


def test_gradient_of_structural_is_student_minus_teacher_expectations() -> None:
    teacher, student = chain(0), chain(1, requires_grad=True)
    distil(student, known(teacher, 1), "structural").sum().backward()
    torch.testing.assert_close(
        student.emissions.grad, (student.marginals - teacher.marginals).detach(), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        student.transitions.grad,
        (student.transition_counts - teacher.transition_counts).sum(0).detach(),
        atol=1e-5,
        rtol=1e-5,
    )


def test_topk_weighted_over_all_sequences_equals_structural() -> None:
    teacher, student = chain(0), chain(1)
    knowledge = known(teacher, C**4)
    torch.testing.assert_close(
        distil(student, knowledge, "topk_weighted"), distil(student, knowledge, "structural"), atol=1e-5, rtol=1e-5
    )


def test_topk_weighted_with_one_path_is_the_nll_of_the_viterbi_path() -> None:
    teacher, student = chain(0), chain(1)
    expected = -student.log_prob(teacher.argmax.tags)
    for name in ("topk", "topk_weighted"):
        torch.testing.assert_close(distil(student, known(teacher, 1), name), expected, atol=1e-5, rtol=1e-5)


def test_topk_averages_log_probabilities_of_the_paths_that_exist() -> None:
    teacher, student = chain(0), chain(1)
    best = teacher.topk(5)
    log_prob = student.log_prob(best.tags).masked_fill(~best.valid, 0)
    expected = -log_prob.sum(1) / best.valid.sum(1)
    torch.testing.assert_close(distil(student, known(teacher, 5), "topk"), expected, atol=1e-5, rtol=1e-5)


def test_posterior_is_the_cross_entropy_of_marginals() -> None:
    teacher, student = chain(0), chain(1)
    inside = teacher.mask.unsqueeze(-1)
    log_marginals = torch.where(inside, student.marginals, 1).log()
    expected = -(teacher.marginals * log_marginals).sum((1, 2))
    torch.testing.assert_close(distil(student, known(teacher, 1), "posterior"), expected, atol=1e-5, rtol=1e-5)


def test_every_source_of_targets_is_consistent() -> None:
    teacher = chain(0)
    knowledge = known(teacher, 4)
    lengths = teacher.lengths
    tags = torch.tensor([[0, 1, 2, 1], [2, 2, -1, -1], [1, -1, -1, -1]])
    assert inconsistency(gold_targets(tags, C), lengths).max() < 1e-6
    for name in ("structural", "topk", "topk_weighted"):
        (term,) = OBJECTIVES[name]().terms
        assert term.target is not None
        assert inconsistency(term.target(knowledge, lengths), lengths).max() < 1e-5, name


def test_reconcile_mends_what_float16_broke() -> None:
    teacher = chain(0)
    rough = Targets(teacher.marginals.log().half().float().exp(), teacher.transition_counts.half().float() * 1.003)
    assert inconsistency(rough, teacher.lengths).max() > 1e-3
    mended = reconcile(rough, teacher.lengths)
    assert inconsistency(mended, teacher.lengths).max() < 1e-5
    torch.testing.assert_close(mended.transition_counts, teacher.transition_counts.float(), atol=5e-3, rtol=5e-3)


def test_gold_only_loss_is_the_negative_log_likelihood() -> None:
    student = chain(1)
    tags = torch.tensor([[0, 1, 2, 1], [2, 2, -1, -1], [1, -1, -1, -1]])
    found = loss(student, gold_targets(tags, C), None, nll(), torch.ones(3))
    torch.testing.assert_close(found, -student.log_prob(tags), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["structural", "topk_weighted", "posterior", "posterior+topk_weighted"])
def test_mixing_gold_and_knowledge_is_the_weighted_sum_of_their_losses(name: str) -> None:
    teacher, student = chain(0), chain(1)
    tags = torch.tensor([[0, 1, 2, 1], [2, 2, -1, -1], [1, -1, -1, -1]])
    knowledge, gold = known(teacher, 3), gold_targets(tags, C)
    weight = torch.tensor([0.3, 1.0, 0.0])
    found = loss(student, gold, knowledge, OBJECTIVES[name](), weight)
    alone = distil(student, knowledge, name)
    torch.testing.assert_close(found, weight * -student.log_prob(tags) + (1 - weight) * alone, atol=1e-5, rtol=1e-5)


def test_global_temperature_compares_tempered_chains_and_scales_by_its_square() -> None:
    teacher, student = chain(0), chain(1)
    knowledge = collate(extract(teacher, k=1, temperature=2.0), 4, C)
    expected = 4 * teacher.tempered(2.0).cross_entropy(student.tempered(2.0))
    torch.testing.assert_close(
        distil(student, knowledge, "structural", temperature=2.0), expected, atol=1e-4, rtol=1e-5
    )


def test_a_sentence_without_knowledge_costs_nothing_beyond_its_gold_part() -> None:
    teacher, student = chain(0), chain(1, requires_grad=True)
    items = [None, *extract(teacher, k=2)[1:]]
    for name in OBJECTIVES:
        value = distil(student, collate(items, 4, C), name)
        assert value[0] == 0
        assert torch.isfinite(value).all()


def test_combined_objectives_add_up() -> None:
    teacher, student = chain(0), chain(1)
    knowledge = known(teacher, 3)
    both = combine(weighted(0.5, posterior()), weighted(0.5, topk_weighted()))
    assert both.name == "0.5*posterior+0.5*topk_weighted"
    found = loss(student, no_gold(), knowledge, both, torch.zeros(3))
    expected = 0.5 * distil(student, knowledge, "posterior") + 0.5 * distil(student, knowledge, "topk_weighted")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_local_temperature_is_refused_where_no_posteriors_are_compared() -> None:
    with pytest.raises(UsageError, match="structural"):
        make_objective("structural", local_temperature=2.0)
    assert make_objective("posterior", local_temperature=2.0).terms[0].name == "posterior"
    with pytest.raises(UsageError, match="expected one of"):
        make_objective("structral")
    assert not structural().needs_paths


def test_annealing_falls_linearly_over_its_fraction() -> None:
    annealing = Annealing(1.0, 0.0, 0.5)
    assert [annealing(x) for x in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.5, 0.0, 0.0]
