"""From an objective to the loss of a batch, and to the divergence that is reported."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from structkd.crf import LinearChainCRF
from structkd.errors import UsageError
from structkd.knowledge import KnowledgeBatch, Targets, gold_targets
from structkd.objective.term import Asked, Objective


@dataclass(frozen=True)
class Lesson:
    """What an objective asks of the teachers about a batch, made once when the batch is read.

    Attributes:
        known: [B] whether a teacher knows the sentence.
        targets: weighted sum of the targets to match; None if there are none.
        mass: [B] what they sum to at each word: the sum of the weights, 0 where nothing is known.
        entropy: [B] weighted sum of the entropies of those targets, in nats; NaN where the teacher's is not known.
        asked: what each comparison takes from the teacher.
    """

    known: Tensor
    targets: Targets | None
    mass: Tensor
    entropy: Tensor
    asked: tuple[Asked, ...]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Lesson:
        """The same on another device."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=non_blocking)

        targets = None if self.targets is None else Targets(*map(move, self.targets))
        asked = tuple(tuple(map(move, parts)) for parts in self.asked)
        return Lesson(move(self.known), targets, move(self.mass), move(self.entropy), asked)


def prepare(objective: Objective, knowledge: KnowledgeBatch, lengths: Tensor) -> Lesson:
    """Take from the knowledge of a batch what the objective needs.

    Args:
        lengths: [B] words of each sentence.

    Raises:
        UsageError: the knowledge lacks a part that the objective needs.
    """
    there = {"paths": knowledge.scores.shape[1] > 0 or not bool(knowledge.known.any())}
    there |= {part: getattr(knowledge, part) is not None for part in ("emissions", "transitions")}
    missing = [part for part in sorted(objective.needs) if not there[part]]
    if missing and bool(knowledge.known.any()):
        raise UsageError(
            f"objective {objective.name} needs {' and '.join(missing)} of its teachers, and their knowledge has none: "
            "extract it again for this objective"
        )
    # NaN where the teacher's entropy is not known, 0 elsewhere.
    entropy = knowledge.entropy * 0
    targets = None
    for term in objective.matches:
        found, own = term.target(knowledge, lengths)
        if term.weight != 1:
            found = Targets(*(part * term.weight for part in found))
        targets = found if targets is None else targets.plus(found)
        entropy = entropy + term.weight * own
    asked = () if missing else tuple(term.ask(knowledge) for term in objective.comparisons)
    mass = knowledge.known * float(sum(term.weight for term in objective.matches))
    return Lesson(knowledge.known, targets, mass, entropy, asked)


def loss(
    student: LinearChainCRF,
    gold: Targets | Tensor,
    knowledge: KnowledgeBatch | Lesson | None,
    objective: Objective,
    gold_weight: Tensor,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """The training loss [B] of each sentence, in nats: w * NLL + (1 - w) * objective.

    Args:
        student: distributions of B sentences.
        gold: the gold tags [B, T], -1 beyond the length and all along a sentence without; or their counts, zeros where
            there are none.
        knowledge: what the teacher knows, extracted at `temperature`, or what the objective asks of it (`prepare`, at
            reading time); None without a teacher.
        gold_weight: [B] w of each sentence; 0 where there are no gold tags, 1 where there is no knowledge.
        temperature: global T; the objective sees the student's potentials divided by T and is multiplied by T^2.

    References:
        METHODS section 2, "One loss": gold and knowledge are mixed as targets, so that a step costs one
        forward-backward whatever the objective; only `posterior` needs the derivative through the marginals.
    """
    if knowledge is None or not objective.terms:
        return _gold_loss(student, gold, gold_weight)
    lesson = knowledge if isinstance(knowledge, Lesson) else prepare(objective, knowledge, student.lengths)
    softened = student if temperature == 1.0 else student.tempered(temperature)
    has_gold = bool(gold_weight.any())
    share = 1 - gold_weight
    if temperature == 1.0 and has_gold and lesson.targets is not None:
        compared = _compared(student, lesson, objective)
        counts = gold if isinstance(gold, Targets) else gold_targets(gold, student.num_tags)
        mixed = lesson.targets.mixed(counts, gold_weight)
        total = student.match(*mixed, share * lesson.mass + gold_weight)
        return total if compared is None else total + share * compared
    taught = _compared(softened, lesson, objective)
    if lesson.targets is not None:
        matched = softened.match(*lesson.targets, lesson.mass)
        taught = matched if taught is None else matched + taught
    if taught is None:  # nobody knows anything about this batch
        return _gold_loss(student, gold, gold_weight)
    if temperature != 1.0:
        taught = temperature**2 * taught
    return share * taught + _gold_loss(student, gold, gold_weight) if has_gold else taught


def _gold_loss(student: LinearChainCRF, gold: Targets | Tensor, weight: Tensor) -> Tensor:
    """weight * NLL [B]; 0 where the weight is."""
    if isinstance(gold, Targets):
        return student.match(*gold.weighted(weight), weight)
    # The log-probability of no tags, and of forbidden ones, is -inf.
    return -torch.where(weight > 0, weight * student.log_prob(gold), 0)


def divergence(
    student: LinearChainCRF, lesson: Lesson, objective: Objective, *, temperature: float = 1.0
) -> Tensor | None:
    """The KL divergence [B] from the targets to the student, in nats at T, for reports: the loss minus its least value.

    Of `structural` it is KL(p_t || p_s), or for a mixture of teachers the mean of the divergences from its members; of
    `token`, `emission` and `posterior` the sum of the divergences at the words; of `topk` and `topk_weighted` that
    from the list, which at student = teacher is -log(the list's mass), not 0.

    Returns:
        NaN where a sentence's is not known (no teacher, or a teacher whose tags were merged); never negative. None if
        the objective has a term that is no divergence.
    """
    if not objective.terms or any(term.entropy is None for term in objective.comparisons):
        return None
    if not bool(lesson.known.any()):
        return torch.full_like(lesson.entropy, torch.nan)
    if temperature != 1.0:
        student = student.tempered(temperature)
    with torch.no_grad():
        # In float64: a small difference of large numbers.
        value = -lesson.entropy.double()
        compared = _compared(student, lesson, objective)
        if compared is not None:
            value = value + compared
        for term, asked in zip(objective.comparisons, lesson.asked, strict=True):
            assert term.entropy is not None
            value = value - term.weight * term.entropy(asked)
        if lesson.targets is not None:
            value = value + student.double().match(*lesson.targets, lesson.mass)
        # Rounding must not print as a negative divergence.
        return torch.where(lesson.known, value.clamp(min=0), torch.nan)


def _compared(student: LinearChainCRF, lesson: Lesson, objective: Objective) -> Tensor | None:
    """The weighted sum [B] of the comparisons, if there are any and anything was asked."""
    total: Tensor | None = None
    if lesson.asked:
        for term, asked in zip(objective.comparisons, lesson.asked, strict=True):
            part = term.distance(student, asked)
            part = part if term.weight == 1 else term.weight * part
            total = part if total is None else total + part
    return total
