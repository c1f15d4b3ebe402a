"""What objectives cost beside the likelihood of gold tags, and what extraction costs beside the encoder.

Everything is measured in CPU seconds of this process on one thread, the contestants taking turns in random order and
each compared with `nll` of the same turn: what else the machine does then falls on all of them alike.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from structkd.corpus import Sentence
from structkd.crf import LinearChainCRF
from structkd.knowledge import (
    PARTS,
    KnowledgeBatch,
    KnowledgeStore,
    KnowledgeWriter,
    Question,
    StoreFacts,
    collate,
    extract,
)
from structkd.labels import UPOS, LabelSet
from structkd.objective import OBJECTIVES, Objective, loss, prepare
from structkd.tagger import Tagger, create, length_batches
from structkd.teacher import Teacher
from structkd.training import Collator, Example, LengthBatches

BASE = "nll"
K = 5
#: The UPOS student of the recipes.
ENCODER = {"type": "recurrent", "ngram_buckets": 60000, "ngram_dim": 100, "hidden": 128, "dropout": 0.4}


class Shape(NamedTuple):
    """Of a batch."""

    sentences: int = 32
    words: int = 25
    tags: int = 17


SHAPE = Shape()


class LossCost(NamedTuple):
    """Forward and backward pass of a loss, given emissions and what the objective asked of the teacher."""

    objective: str
    milliseconds: float
    relative: float  # to nll, median over the turns


class EpochCost(NamedTuple):
    """An epoch of training: reading, encoder, loss, backward pass, optimiser."""

    objective: str
    seconds: float
    relative: float  # to nll, median over the steps


class ExtractionCost(NamedTuple):
    """Sentences a second, words a sentence, and what the store is like."""

    encoder: float  # sentences/s of batching and forward pass alone
    extraction: float  # sentences/s from words to shards on disk
    words_per_sentence: float
    bytes_per_token: float
    milliseconds_per_batch: float  # to read 32 sentences and make them a batch


def loss_costs(
    shape: Shape = SHAPE, *, objectives: Sequence[str] = tuple(OBJECTIVES), rounds: int = 100, repeats: int = 5
) -> list[LossCost]:
    """Time each objective, on sentences without gold tags; `nll` on gold tags of the same sentences.

    Args:
        rounds: turns of every objective.
        repeats: passes of an objective in a turn.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(max(1, shape.words // 2), shape.words + 1, (shape.sentences,), generator=generator)
    lengths[0] = shape.words
    knowledge, tags = _teacher_of(shape, lengths, generator)
    student = _potentials(shape, generator)
    for part in student:
        part.requires_grad_()
    tasks = {name: _task(OBJECTIVES[name](), student, lengths, knowledge, tags) for name in _with_base(objectives)}
    times = _turns(tasks, rounds, repeats)
    return [
        LossCost(name, 1e3 * median(spent), median(a / b for a, b in zip(spent, times[BASE], strict=True)))
        for name, spent in times.items()
    ]


def _potentials(shape: Shape, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    b, t, c = shape
    drawn = (torch.randn(*size, generator=generator) for size in ((b, t, c), (c, c), (c,), (c,)))
    emissions, transitions, start, end = drawn
    return emissions, transitions, start, end


def _teacher_of(shape: Shape, lengths: Tensor, generator: torch.Generator) -> tuple[KnowledgeBatch, Tensor]:
    teacher = LinearChainCRF(*_potentials(shape, generator), lengths)
    return collate(list(extract(teacher, Question(K, parts=PARTS))), shape.words, shape.tags), teacher.argmax.tags


def _task(
    objective: Objective,
    student: tuple[Tensor, Tensor, Tensor, Tensor],
    lengths: Tensor,
    knowledge: KnowledgeBatch,
    tags: Tensor,
) -> Callable[[], None]:
    lesson = prepare(objective, knowledge, lengths) if objective.needs_knowledge else None
    gold_weight = torch.full((len(lengths),), 0.0 if objective.needs_knowledge else 1.0)

    def run() -> None:
        for part in student:
            part.grad = None
        chain = LinearChainCRF(*student, lengths)
        loss(chain, tags, lesson, objective, gold_weight).sum().backward()

    return run


def _turns(tasks: dict[str, Callable[[], None]], rounds: int, repeats: int) -> dict[str, list[float]]:
    """CPU seconds of a pass, task by task and turn by turn."""
    chance = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(rounds):
        for name in chance.sample(list(tasks), len(tasks)):
            begun = time.process_time()
            for _ in range(repeats):
                tasks[name]()
            times[name].append((time.process_time() - begun) / repeats)
    return times


def epoch_costs(
    *, objectives: Sequence[str] = tuple(OBJECTIVES), sentences: int = 640, batch_size: int = 32
) -> list[EpochCost]:
    """Train a student for each objective over the same batches, which the objectives take in turn, step by step."""
    labels, words = LabelSet(UPOS), synthetic_words(sentences)
    with tempfile.TemporaryDirectory() as folder:
        store = _store(Path(folder), Teacher(_tagger(labels, seed=0), labels), words)
        tags = [store[i].paths[0].tolist() for i in range(sentences)]
        order = list(LengthBatches([len(w) for w in words], ["xx"] * sentences, batch_size, seed=0))
        steps = {name: _step(OBJECTIVES[name](), labels, words, tags, store) for name in _with_base(objectives)}
        chance = random.Random(0)
        spent: dict[str, list[float]] = {name: [] for name in steps}
        for indices in [order[0], *order]:
            for name in chance.sample(list(steps), len(steps)):
                begun = time.process_time()
                steps[name](indices)
                spent[name].append(time.process_time() - begun)
    # The first step only warms up.
    return [
        EpochCost(name, sum(times[1:]), median(a / b for a, b in zip(times[1:], spent[BASE][1:], strict=True)))
        for name, times in spent.items()
    ]


def _step(
    objective: Objective, labels: LabelSet, words: list[list[str]], tags: list[list[int]], store: KnowledgeStore
) -> Callable[[list[int]], None]:
    """A training step; students of an objective do not see the gold tags, and those of nll nothing else."""
    tagger = _tagger(labels, seed=1)
    tagger.model.train()
    collator = Collator(tagger.batcher, len(labels), objective)
    optimizer = torch.optim.AdamW(tagger.model.parameters(), lr=1e-3, fused=True)
    weight = 0.0 if objective.needs_knowledge else 1.0

    def run(indices: list[int]) -> None:
        batch = collator([Example(words[i], tags[i], "xx", str(i), lambda i=i: store[i]) for i in indices])  # type: ignore[misc]
        output = tagger.model(**batch["inputs"], output_marginals=False)
        chain = tagger.model.distribution(output)
        gold_weight = torch.full((len(indices),), weight)
        loss(chain, batch["tags"], batch.get("lesson"), objective, gold_weight).mean().backward()
        torch.nn.utils.clip_grad_norm_(tagger.model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()

    return run


def extraction_cost(*, sentences: int = 640, rounds: int = 3, batch_size: int = 64) -> ExtractionCost:
    """Time the extraction of everything but emissions, 5 best paths included, and the reading of a batch."""
    labels, words = LabelSet(UPOS), synthetic_words(sentences)
    tagger = _tagger(labels, seed=0)
    teacher = Teacher(tagger, labels)

    def encode() -> None:
        for indices in length_batches([len(w) for w in words], batch_size):
            with torch.no_grad():
                tagger.model(**tagger.batcher([words[i] for i in indices]), output_marginals=False)

    with tempfile.TemporaryDirectory() as folder:
        directories = (Path(folder) / str(number) for number in range(rounds + 1))
        tasks = {"encoder": encode, "extraction": lambda: _written(next(directories), teacher, words, parts=())}
        times = _turns(tasks, rounds, 1)
        store = KnowledgeStore(Path(folder) / "0")
        chance = random.Random(0)
        batches = [chance.sample(range(sentences), min(32, sentences)) for _ in range(50)]

        def read() -> None:
            rows = [store[i] for i in batches[chance.randrange(len(batches))]]
            collate(list(rows), max(len(row.log_marginals) for row in rows), len(labels))

        reading = _turns({"read": read}, 50, 1)["read"]
        return ExtractionCost(
            encoder=sentences / median(times["encoder"]),
            extraction=sentences / median(times["extraction"]),
            words_per_sentence=store.words / sentences,
            bytes_per_token=store.bytes / store.words,
            milliseconds_per_batch=1e3 * median(reading),
        )


def synthetic_words(sentences: int) -> list[list[str]]:
    """Sentences of 20 words on average, made of syllables: hashing and length bucketing have something to do."""
    chance = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    vocabulary = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(5000)]
    return [chance.choices(vocabulary, k=min(60, max(1, round(chance.gauss(20, 8))))) for _ in range(sentences)]


def _tagger(labels: LabelSet, *, seed: int) -> Tagger:
    torch.manual_seed(seed)
    tagger = create(dict(ENCODER), labels)
    # Trained taggers are sharp, and their probabilities far from uniform.
    torch.nn.init.normal_(tagger.model.emission.weight, std=5.0)
    return tagger


def _store(directory: Path, teacher: Teacher, words: list[list[str]]) -> KnowledgeStore:
    _written(directory, teacher, words, parts=PARTS)
    return KnowledgeStore(directory)


def _written(directory: Path, teacher: Teacher, words: list[list[str]], *, parts: Sequence[str]) -> None:
    sentences = [Sentence(tuple(w), None, "xx", str(i)) for i, w in enumerate(words)]
    found = teacher.knowledge(sentences, Question(K, parts=parts))
    writer = KnowledgeWriter(
        directory, StoreFacts("bench", "bench", list(UPOS), 1.0, K, "float16", len(words), sorted(parts))
    )
    for wanted in writer.todo:
        writer.write_shard(wanted.start, [(f"sentence-{i}", f"{i:016x}", found[i]) for i in wanted])
    writer.finish()


def _with_base(objectives: Sequence[str]) -> list[str]:
    return [BASE, *(name for name in objectives if name != BASE)]
