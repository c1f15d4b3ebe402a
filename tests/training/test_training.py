from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from structkd.corpus import Sentence
from structkd.errors import DataError
from structkd.knowledge import Question
from structkd.labels import LabelSet
from structkd.objective import make_objective
from structkd.storage import seal
from structkd.tagger import Tagger, create
from structkd.teacher import Teacher
from structkd.training import Collator, Example, Examples, LengthBatches, TrainingSettings, newest_checkpoint, train

LABELS = LabelSet(["A", "B", "C"])
ENCODER = {"type": "recurrent", "ngram_buckets": 97, "ngram_dim": 6, "hidden": 5, "dropout": 0.3}
SETTINGS = TrainingSettings(epochs=3, batch_size=4, learning_rate=1e-2)


def tagger(seed: int = 3) -> Tagger:
    torch.manual_seed(seed)
    return create(ENCODER, LABELS)


def items(n: int = 18) -> list[Example]:
    found = []
    for i in range(n):
        words = [f"w{(i * 7 + j) % 11}" for j in range(1 + i % 5)]
        found.append(Example(words, [int(word[1:]) % 3 for word in words], "xx" if i % 3 else "yy", str(i)))
    return found


def weights(trained: Tagger) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in trained.model.parameters()])


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop_at", [3, 7, 10])
@pytest.mark.parametrize("checkpoint_steps", [None, 2])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, stop_at: int, checkpoint_steps: int | None
) -> None:
    settings = replace(SETTINGS, checkpoint_steps=checkpoint_steps)
    whole = tagger()
    train(whole, Examples(items()), settings, tmp_path / "whole", seed=1, device="cpu")

    def interrupt(done: int, total: int, loss: float | None) -> None:
        if done == stop_at:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(tagger(), Examples(items()), settings, tmp_path / "cut", seed=1, device="cpu", progress=interrupt)
    steps = []
    resumed = tagger()
    train(
        resumed,
        Examples(items()),
        settings,
        tmp_path / "cut",
        seed=1,
        device="cpu",
        progress=lambda done, total, loss: steps.append(done),
    )
    if stop_at > (checkpoint_steps or 5):
        assert steps[0] > 1
    torch.testing.assert_close(weights(resumed), weights(whole), atol=0, rtol=0)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step in (5, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "optimizer.pt").write_bytes(b"state")
        seal(folder)
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    (tmp_path / "checkpoint-10" / "optimizer.pt").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-5"


def test_accumulation_gives_the_same_step_as_one_large_batch(tmp_path: Path) -> None:
    ends = []
    for batch_size, accumulation in ((8, 1), (2, 4)):
        made = tagger()
        torch.nn.Module.eval(made.model)
        made.model.encoder.dropout.p = 0.0
        settings = TrainingSettings(
            max_steps=1, batch_size=batch_size, gradient_accumulation=accumulation, optimizer="sgd", gradient_clip=0.0
        )
        train(made, Examples(items(8)), settings, tmp_path / str(accumulation), seed=1, device="cpu")
        ends.append(weights(made))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-7, rtol=1e-6)
    assert (ends[0] - weights(tagger())).abs().max() > 1e-4


@pytest.mark.parametrize("objective", ["structural", "topk_weighted", "posterior"])
def test_a_student_moves_towards_its_teacher(tmp_path: Path, objective: str) -> None:
    teacher = tagger(seed=5)
    torch.nn.init.normal_(teacher.model.emission.weight, std=2.0)
    untagged = [item._replace(tags=None) for item in items()]
    text = [Sentence(tuple(item.words), None, item.language, item.id) for item in untagged]
    found = Teacher(teacher, LABELS).knowledge(text, Question(3))
    asked = [item._replace(knowledge=lambda k=k: k) for item, k in zip(untagged, found, strict=True)]

    def distance(student: Tagger) -> float:
        batch = teacher.batcher([item.words for item in untagged])
        with torch.no_grad():
            t = teacher.model.eval().distribution(teacher.model(**batch))
            s = student.model.eval().distribution(student.model(**batch))
        return float(t.kl(s).mean().detach())

    student = tagger()
    before = distance(student)
    settings = TrainingSettings(epochs=25, batch_size=6, learning_rate=2e-2)
    history = train(
        student, Examples(asked), settings, tmp_path, seed=1, device="cpu", objective=make_objective(objective)
    )
    assert distance(student) < 0.6 * before
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_sentence_without_a_legal_path_is_named(tmp_path: Path) -> None:
    labels = LabelSet.for_entities(["PER"])
    made = create(ENCODER, labels)
    broken = [Example(["w1", "w2"], [labels.id("O"), labels.id("I-PER")], "xx", "s17")]
    with pytest.raises(DataError, match="xx:s17"):
        train(made, Examples(broken), TrainingSettings(max_steps=1), tmp_path, seed=1, device="cpu")


def test_batches_hold_every_sentence_once_and_are_mixed_anew_each_epoch() -> None:
    lengths = [1 + i % 13 for i in range(101)]
    batches = LengthBatches(lengths, ["xx"] * 101, 8, seed=0)
    first = list(batches)
    assert sorted(i for batch in first for i in batch) == list(range(101))
    assert len(first) == len(batches)
    assert list(batches) == first
    batches.set_epoch(1)
    second = list(batches)
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in first]
    assert sum(spread) / len(spread) <= 2


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_token_budget_batches_hold_about_so_many_words_and_are_equally_many_each_epoch(exponent: float) -> None:
    lengths = [1 + (i * i) % 37 for i in range(400)]
    languages = ["big" if i % 5 else "small" for i in range(400)]
    batches = LengthBatches(lengths, languages, 1, seed=0, batch_tokens=200, balance_exponent=exponent)
    for epoch in range(3):
        batches.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches)
        assert all(found)
        words = [sum(lengths[i] for i in batch) for batch in found]
        assert max(words) <= 200 + 37
        assert sum(words) / len(words) > 150
        sizes = [len(batch) for batch in found]
        assert max(sizes) > 4 * min(sizes), "short sentences make large batches"
        padding = sum(len(b) * max(lengths[i] for i in b) for b in found) / sum(words)
        assert padding < 1.15
        if exponent == 1.0:
            assert sorted(i for batch in found for i in batch) == list(range(400))


def test_a_sentence_longer_than_the_budget_is_a_batch_and_no_batch_is_empty() -> None:
    batches = LengthBatches([50, 1, 1, 60, 1, 70], ["xx"] * 6, 1, seed=0, batch_tokens=20)
    found = list(batches)
    assert len(found) == len(batches) == 6
    assert sorted(found) == [[i] for i in range(6)]


def test_processes_share_batches_evenly() -> None:
    assert len(list(LengthBatches([3] * 17, ["xx"] * 17, 2, seed=0, processes=4))) == 12


def test_accumulation_of_unequal_batches_is_the_mean_over_the_sentences_of_the_step(tmp_path: Path) -> None:
    sentences = [
        Example([f"w{j % 7}" for j in range(n)], [j % 3 for j in range(n)], "xx", str(n)) for n in range(1, 14)
    ]
    parts = list(LengthBatches([len(s.words) for s in sentences], ["xx"] * 13, 1, seed=1, batch_tokens=23))
    assert len(parts) == 4
    assert len({len(part) for part in parts}) > 2, "the batches must be of unequal size"
    ends = []
    for batch_tokens, accumulation in ((1000, 1), (23, 4)):
        made = tagger()
        made.model.encoder.dropout.p = 0.0
        settings = TrainingSettings(
            max_steps=1,
            batch_tokens=batch_tokens,
            gradient_accumulation=accumulation,
            optimizer="sgd",
            learning_rate=1.0,
            gradient_clip=0.0,
        )
        train(made, Examples(sentences), settings, tmp_path / str(accumulation), seed=1, device="cpu")
        ends.append(weights(made))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-6, rtol=1e-5)
    assert (ends[0] - weights(tagger())).abs().max() > 1e-2


def test_balance_exponent_zero_draws_languages_equally_often() -> None:
    languages = ["big"] * 90 + ["small"] * 10
    batches = LengthBatches([3] * 100, languages, 10, seed=0, balance_exponent=0.0)
    drawn = [languages[i] for batch in batches for i in batch]
    assert drawn.count("small") == 50
    assert len(drawn) == 100


def test_tags_known_in_part_train_the_likelihood_of_all_taggings_that_agree(tmp_path: Path) -> None:
    example = Example(["w1", "w2", "w3"], None, "xx", "1", allowed=np.array([[1, 0, 0], [1, 1, 1], [0, 1, 1]], bool))
    full = Example(["w4", "w5"], [1, 2], "xx", "2")
    model = tagger()
    collator = Collator(model.batcher, 3)
    trained = tagger()
    settings = replace(SETTINGS, epochs=40, learning_rate=0.1, checkpoint_steps=1000)
    rows = train(trained, Examples([example, full]), settings, tmp_path, seed=1, device="cpu")
    values = []
    for asked in (model, trained):
        asked.model.eval()
        batch = collator([example, full])
        student = asked.model.distribution(asked.model(**batch["inputs"]))
        partial = student.log_prob_partial(batch["allowed"])
        assert partial[1].item() == pytest.approx(0, abs=1e-6)
        values.append(partial[0].item())
    assert values[0] < -0.5
    assert values[1] > -0.1
    assert rows[-1]["loss"] >= 0
