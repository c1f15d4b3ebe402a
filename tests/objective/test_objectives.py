from __future__ import annotations

import pytest
import torch

from structkd.crf import LinearChainCRF
from structkd.errors import DataError, UsageError
from structkd.knowledge import (
    PARTS,
    KnowledgeBatch,
    Question,
    Targets,
    collate,
    extract,
    gold_targets,
    inconsistency,
    reconcile,
)
from structkd.objective import (
    OBJECTIVES,
    Annealing,
    combine,
    conflict,
    constant,
    loss,
    make_objective,
    nll,
    posterior,
    prepare,
    topk_weighted,
    weighted,
)
from structkd.recipe import OBJECTIVE_NAMES

C, LENGTHS = 3, [4, 2, 1]


def chain(seed: int, *, requires_grad: bool = False) -> LinearChainCRF:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*shape, generator=generator).double() for shape in ((3, 4, C), (C, C), (C,), (C,))]
    for part in parts:
        part.requires_grad_(requires_grad)
    return LinearChainCRF(*parts, lengths=torch.tensor(LENGTHS))


def known(teacher: LinearChainCRF, k: int) -> KnowledgeBatch:
    return collate(extract(teacher, Question(k, parts=PARTS)), 4, C)


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
        targets = prepare(OBJECTIVES[name](), knowledge, lengths).targets
        assert targets is not None
        assert inconsistency(targets, lengths).max() < 1e-5, name


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


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "nll"])
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
    knowledge = collate(extract(teacher, Question(1, temperature=2.0)), 4, C)
    expected = 4 * teacher.tempered(2.0).cross_entropy(student.tempered(2.0))
    torch.testing.assert_close(
        distil(student, knowledge, "structural", temperature=2.0), expected, atol=1e-4, rtol=1e-5
    )


def test_a_sentence_without_knowledge_costs_nothing_beyond_its_gold_part() -> None:
    teacher, student = chain(0), chain(1, requires_grad=True)
    items = [None, *extract(teacher, Question(2, parts=PARTS))[1:]]
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


def test_objectives_say_what_they_need_of_a_teacher() -> None:
    needs = {name: set(make().needs) for name, make in OBJECTIVES.items()}
    assert needs["emission"] == needs["emission_mse"] == {"emissions"}
    assert needs["substructure_mse"] == {"emissions", "transitions"}
    assert needs["topk"] == needs["topk_weighted"] == needs["posterior+topk_weighted"] == {"paths"}
    assert needs["nll"] == needs["structural"] == needs["posterior"] == needs["token"] == set()
    teacher = chain(0)
    bare = collate(extract(teacher, Question(0)), 4, C)
    for name, wanted in (("emission", "emissions"), ("topk", "paths"), ("substructure_mse", "emissions and transiti")):
        with pytest.raises(UsageError, match=f"objective {name} needs {wanted}"):
            prepare(OBJECTIVES[name](), bare, teacher.lengths)


def test_every_objective_can_be_named_in_a_recipe() -> None:
    assert tuple(OBJECTIVES) == OBJECTIVE_NAMES


def test_annealing_falls_linearly_over_its_fraction() -> None:
    annealing = Annealing(1.0, 0.0, 0.5)
    assert [annealing(x) for x in (0.0, 0.25, 0.5, 1.0)] == [1.0, 0.5, 0.0, 0.0]


def test_annealing_by_epoch_changes_at_the_beginning_of_an_epoch_only() -> None:
    annealing = Annealing(1.0, 0.0, 1.0, per="epoch")
    assert [annealing(step / 12, 3) for step in range(12)] == pytest.approx([1] * 4 + [2 / 3] * 4 + [1 / 3] * 4)
    # Ten epochs of seven steps: no quotient is a whole number in floating point.
    found = [Annealing(1.0, 0.0, 1.0, per="epoch")(step / 70, 10) for step in range(70)]
    assert found == pytest.approx([1 - step // 7 / 10 for step in range(70)])


def test_a_constant_weight_stays_and_a_fraction_of_zero_is_at_the_end_at_once() -> None:
    assert {constant(0.4)(x / 10) for x in range(11)} == {0.4}
    assert Annealing(1.0, 0.2, 0.0)(0.0) == 0.2


def test_targets_whose_counts_are_of_another_distribution_are_refused() -> None:
    teacher, other = chain(0), chain(5)
    torn = Targets(teacher.marginals, torch.where(other.transition_counts > 0.5, other.transition_counts, 0))
    with pytest.raises(DataError, match="one distribution"):
        reconcile(torn, teacher.lengths)


def test_what_a_target_asks_for_and_the_student_forbids_is_named() -> None:
    teacher, names = chain(0), ["A", "B", "C"]
    targets = Targets(teacher.marginals, teacher.transition_counts)

    def forbidding(part: int, index: tuple[int, ...]) -> LinearChainCRF:
        parts = [teacher.emissions, teacher.transitions, teacher.start_transitions, teacher.end_transitions]
        parts[part] = parts[part].clone()
        parts[part][index] = -torch.inf
        return LinearChainCRF(*parts, lengths=teacher.lengths)

    assert conflict(teacher, targets, 0, names) is None
    assert conflict(forbidding(1, (0, 2)), targets, 0, names) == "C after A"
    assert conflict(forbidding(1, (0, 2)), targets, 2, names) is None  # a sentence of one word
    assert conflict(forbidding(2, (1,)), targets, 1, names) == "B at the first word"
    assert conflict(forbidding(3, (0,)), targets, 1, names) == "A at the last word"
    assert conflict(forbidding(0, (0, 2, 1)), targets, 0, names) == "B at word 3"
    student = forbidding(1, (0, 2))
    assert student.match(*targets).isposinf().tolist() == [True, True, False]
