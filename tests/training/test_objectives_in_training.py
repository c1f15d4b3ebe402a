"""Objectives inside the Trainer: live teachers against stores, reductions, and what is logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from structkd.corpus import Sentence, token_fingerprint
from structkd.errors import DataError
from structkd.knowledge import (
    PARTS,
    Knowledge,
    KnowledgeStore,
    KnowledgeWriter,
    Question,
    StoreFacts,
    extract,
    gold_targets,
)
from structkd.labels import LabelSet
from structkd.objective import OBJECTIVES, Annealing, constant, loss, make_objective
from structkd.tagger import Tagger, create
from structkd.teacher import Teacher
from structkd.training import Collator, Example, Examples, TrainingSettings, train

LABELS = LabelSet(["A", "B", "C"])
ENCODER = {"type": "recurrent", "ngram_buckets": 97, "ngram_dim": 6, "hidden": 5, "dropout": 0.3}
KNOWING = [name for name in OBJECTIVES if name != "nll"]


def tagger(seed: int = 3) -> Tagger:
    torch.manual_seed(seed)
    return create(ENCODER, LABELS)


def sharp_teacher() -> Tagger:
    made = tagger(seed=5)
    torch.nn.init.normal_(made.model.emission.weight, std=20.0)
    torch.nn.init.normal_(made.model.crf.transitions, std=1.0)
    made.model.eval()
    return made


def items(n: int = 18) -> list[Example]:
    found = []
    for i in range(n):
        words = [f"w{(i * 7 + j) % 11}" for j in range(1 + i % 5)]
        tags = [int(word[1:]) % 3 for word in words] if i % 2 else None
        found.append(Example(words, tags, "xx", str(i)))
    return found


def ask(teacher: Teacher, examples: Sequence[Example], temperature: float = 1.0) -> list[Knowledge]:
    sentences = [Sentence(tuple(item.words), None, item.language, item.id) for item in examples]
    return teacher.knowledge(sentences, Question(4, temperature=temperature, parts=PARTS))


def live(teacher: Teacher, examples: list[Example], temperature: float = 1.0) -> list[Example]:
    """Every time a sentence is needed, the teacher's network runs."""
    return [
        item._replace(knowledge=lambda i=i: ask(teacher, examples, temperature)[i]) for i, item in enumerate(examples)
    ]


def stored(
    directory: Path, teacher: Teacher, examples: list[Example], dtype: str, temperature: float = 1.0
) -> list[Example]:
    facts = StoreFacts("t", "c", list(LABELS.tags), temperature, 4, dtype, len(examples), sorted(PARTS))
    writer = KnowledgeWriter(directory, facts)
    found = ask(teacher, examples, temperature)
    writer.write_shard(
        0, [(item.id, token_fingerprint(item.words), k) for item, k in zip(examples, found, strict=True)]
    )
    writer.finish()
    store = KnowledgeStore(directory)
    return [item._replace(knowledge=lambda i=i: store[i]) for i, item in enumerate(examples)]


def weights(trained: Tagger) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in trained.model.parameters()])


@pytest.mark.parametrize(("name", "temperature"), [*((name, 1.0) for name in KNOWING), ("structural", 2.0)])
def test_a_student_of_a_float32_store_is_the_student_of_live_teachers_bit_for_bit(
    name: str, temperature: float, tmp_path: Path
) -> None:
    teacher, ends = Teacher(sharp_teacher(), LABELS), []
    for kind in ("live", "store"):
        examples = (
            live(teacher, items(), temperature)
            if kind == "live"
            else stored(tmp_path / "store", teacher, items(), "float32", temperature)
        )
        student = tagger()
        train(
            student,
            Examples(examples),
            TrainingSettings(epochs=1, batch_size=4, learning_rate=1e-2),
            tmp_path / kind,
            seed=1,
            device="cpu",
            objective=make_objective(name),
            temperature=temperature,
        )
        ends.append(weights(student))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], weights(tagger()))


@pytest.mark.parametrize("name", KNOWING)
def test_loss_and_gradient_of_a_float16_store_are_within_a_thousandth(name: str, tmp_path: Path) -> None:
    teacher, objective, found = Teacher(sharp_teacher(), LABELS), make_objective(name), []
    for kind in ("live", "store"):
        examples = live(teacher, items(8)) if kind == "live" else stored(tmp_path, teacher, items(8), "float16")
        student = tagger()
        student.model.eval()
        batch = Collator(student.batcher, len(LABELS), objective)(examples)
        output = student.model(**batch["inputs"], output_marginals=False)
        chain = student.model.distribution(output)
        value = loss(chain, batch["tags"], batch["lesson"], objective, torch.zeros(8)).mean()
        value.backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in student.model.parameters() if p.grad is not None])
        found.append((value.detach(), gradient))
    (a, g), (b, h) = found
    assert abs(a - b) < 1e-3 * abs(a)
    assert (g - h).norm() < 1e-3 * g.norm()


@pytest.mark.parametrize("reduction", ["sentences", "tokens"])
def test_the_loss_of_a_step_is_the_mean_over_all_its_micro_batches(reduction: str, tmp_path: Path) -> None:
    """Nine sentences in micro-batches of 2, 2, 2, 2 and 1 are one batch of nine."""
    examples = stored(tmp_path / "store", Teacher(sharp_teacher(), LABELS), items(9), "float32")
    ends = []
    for batch_size, accumulation in ((9, 1), (2, 5)):
        made = tagger()
        made.model.encoder.dropout.p = 0.0
        settings = TrainingSettings(
            max_steps=1,
            batch_size=batch_size,
            gradient_accumulation=accumulation,
            optimizer="sgd",
            learning_rate=0.1,
            gradient_clip=0.0,
            reduction=reduction,
        )
        directory = tmp_path / f"{reduction}-{accumulation}"
        train(
            made, Examples(examples), settings, directory, seed=1, device="cpu", objective=make_objective("structural")
        )
        ends.append(weights(made) - weights(tagger()))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-7, rtol=1e-5)

    made = tagger()
    made.model.encoder.dropout.p = 0.0
    objective = make_objective("structural")
    batch = Collator(made.batcher, len(LABELS), objective)(examples)
    # lambda is 1 at the first step: gold tags do not count yet.
    chain = made.model.distribution(made.model(**batch["inputs"], output_marginals=False))
    losses = loss(chain, gold_targets(batch["tags"], 3), batch["lesson"], objective, torch.zeros(9))
    count = 9 if reduction == "sentences" else sum(len(item.words) for item in examples)
    (losses.sum() / count).backward()
    expected = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else -0.1 * p.grad).reshape(-1) for p in made.model.parameters()]
    )
    torch.testing.assert_close(ends[0], expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("name", "defined"), [("structural", True), ("posterior", True), ("emission_mse", False)])
def test_the_history_has_the_divergence_from_the_teachers_where_it_is_defined(
    name: str, defined: bool, tmp_path: Path
) -> None:
    untagged = [item._replace(tags=None) for item in items()]
    examples = stored(tmp_path / "store", Teacher(sharp_teacher(), LABELS), untagged, "float16")
    settings = TrainingSettings(max_steps=60, batch_size=18, learning_rate=2e-2, checkpoint_steps=100)
    history = train(
        tagger(), Examples(examples), settings, tmp_path / "run", seed=1, device="cpu", objective=make_objective(name)
    )
    logged = [row["kl"] for row in history if "kl" in row]
    if not defined:
        assert not logged
        return
    assert len(logged) == 3
    assert all(value >= 0 for value in logged)
    assert logged[-1] < 0.7 * logged[0]


def test_a_constant_weight_of_zero_learns_from_gold_alone(tmp_path: Path) -> None:
    tagged = [item for item in items() if item.tags is not None]
    taught = stored(tmp_path / "store", Teacher(sharp_teacher(), LABELS), tagged, "float32")
    settings = TrainingSettings(epochs=2, batch_size=4, learning_rate=1e-2)
    ends = []
    for examples, objective in ((tagged, None), (taught, make_objective("structural"))):
        made = tagger()
        directory = tmp_path / str(objective is None)
        train(
            made,
            Examples(examples),
            settings,
            directory,
            seed=1,
            device="cpu",
            objective=objective,
            annealing=constant(0.0),
        )
        ends.append(weights(made))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-5, rtol=1e-4)


def test_annealing_by_epoch_differs_from_annealing_by_step(tmp_path: Path) -> None:
    tagged = [item for item in items() if item.tags is not None]
    examples = stored(tmp_path / "store", Teacher(sharp_teacher(), LABELS), tagged, "float32")
    ends = {}
    for per in ("step", "epoch"):
        for epochs in (1, 2):
            made = tagger()
            settings = replace(TrainingSettings(batch_size=3, learning_rate=1e-2), epochs=epochs)
            train(
                made,
                Examples(examples),
                settings,
                tmp_path / f"{per}{epochs}",
                seed=1,
                device="cpu",
                objective=make_objective("structural"),
                annealing=Annealing(1.0, 0.0, 1.0, per=per) if epochs == 2 or per == "epoch" else constant(1.0),
            )
            ends[per, epochs] = weights(made)
    # In its first epoch, annealing by epoch has not begun.
    assert torch.equal(ends["epoch", 1], ends["step", 1])
    assert not torch.equal(ends["epoch", 2], ends["step", 2])


def test_a_target_that_the_student_forbids_is_named(tmp_path: Path) -> None:
    labels = LabelSet.for_entities(["PER"])
    torch.manual_seed(0)
    made = create(ENCODER, labels)
    free = create(ENCODER, labels, constrained=False)
    with torch.no_grad():
        output = free.model.eval()(**free.batcher([["w1", "w2"]]))
        (known,) = extract(free.model.distribution(output), Question(1))
    broken = [Example(["w1", "w2"], None, "xx", "s17", lambda: known)]
    with pytest.raises(DataError, match=r"xx:s17 \(inf: it asks for I-PER after O, which the student forbids\)"):
        train(
            made,
            Examples(broken),
            TrainingSettings(max_steps=1),
            tmp_path,
            seed=1,
            device="cpu",
            objective=make_objective("structural"),
        )
