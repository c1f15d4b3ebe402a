"""Teachers of other tag sets against enumeration: every tagging of the teacher, rewritten by its spans."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, BertConfig, BertForTokenClassification

from structkd.corpus import Sentence
from structkd.crf import LinearChainCRF
from structkd.errors import DataError
from structkd.knowledge import Knowledge, Question, Targets, collate, extract, inconsistency, merge_tags
from structkd.labels import LabelMap, LabelSet
from structkd.tagger import create, load_any, predict
from structkd.teacher import Teacher, fine_chain
from tests.oracles.brute_force import BruteForceCRF
from tests.tagger.tiny_models import tiny_bert

ENCODER = {"type": "recurrent", "ngram_buckets": 64, "ngram_dim": 6, "hidden": 5, "dropout": 0.0}
SENTENCES = [
    Sentence(("gran", "casa", "verde", "."), None, "es", "1"),
    Sentence(("casa",), None, "es", "2"),
    Sentence(("la", "Casas"), None, "es", "3"),
]
MAPS = {
    "order": (LabelSet(["C", "A", "B"]), LabelSet(["A", "B", "C"]), {}),
    "merge": (LabelSet(["A", "B1", "B2", "C"]), LabelSet(["C", "B", "A"]), {"B1": "B", "B2": "B"}),
    "drop": (LabelSet(["A", "X", "B"]), LabelSet(["A", "B"]), {"X": None}),
    "types": (
        LabelSet.for_entities(["P", "M", "G"], "IOB1"),
        LabelSet.for_entities(["P"], "BIOES"),
        {"M": None, "G": "O"},
    ),
    **{
        f"{source}-{target}": (LabelSet.for_entities(["P", "L"], source), LabelSet.for_entities(["L", "P"], target), {})
        for source, target in [("BIOES", "IOB2"), ("IOB2", "BIOES"), ("IOB1", "IOB2"), ("BILOU", "IOB1")]
    },
}


def random_chain(num_tags: int, seed: int = 0) -> LinearChainCRF:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, 3, num_tags), (num_tags, num_tags), (num_tags,), (num_tags,))
    parts = [torch.randn(*shape, generator=generator).double() for shape in shapes]
    return LinearChainCRF(*parts, lengths=torch.tensor([3, 1, 2]))


def enumerated(
    chain: LinearChainCRF, label_map: LabelMap, temperature: float = 1.0
) -> list[dict[tuple[str, ...], float]]:
    """p(tagging in the student's tags | the student can express it) of each sentence."""
    oracle = BruteForceCRF(
        chain.emissions, chain.transitions, chain.start_transitions, chain.end_transitions, chain.lengths
    )
    scheme = label_map.source.scheme
    found = []
    for b, (paths, scores) in enumerate(zip(oracle._paths, oracle._scores(), strict=True)):
        masses: dict[tuple[str, ...], float] = {}
        for path, score in zip(paths.tolist(), (scores / temperature).exp().tolist(), strict=True):
            tags = label_map.source.decode(path)
            if scheme is not None and not legal(tags, scheme):
                continue
            converted = label_map.convert(tags)
            if converted is not None:
                masses[tuple(converted)] = masses.get(tuple(converted), 0.0) + score
        total = sum(masses.values())
        found.append({tags: mass / total for tags, mass in masses.items()})
        assert len(next(iter(masses))) == int(chain.lengths[b])
    return found


def legal(tags: list[str], scheme: str) -> bool:
    from structkd.labels import violations

    return not violations(tags, scheme)


def counts(distribution: dict[tuple[str, ...], float], labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    n = len(next(iter(distribution)))
    marginals, pairs = np.zeros((n, len(labels))), np.zeros((len(labels), len(labels)))
    for tags, mass in distribution.items():
        ids = labels.ids(tags)
        marginals[range(n), ids] += mass
        for a, b in itertools.pairwise(ids):
            pairs[a, b] += mass
    return marginals, pairs


def mapped(chain: LinearChainCRF, label_map: LabelMap, k: int, temperature: float = 1.0) -> list[Knowledge]:
    return [
        merge_tags(item, label_map.target_ids, len(label_map.target), entropy_is_known=not label_map.merges)
        for item in extract(fine_chain(chain, label_map), Question(k, temperature=temperature))
    ]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("name", MAPS)
def test_expectations_in_the_students_tags_equal_enumeration(name: str, temperature: float) -> None:
    source, target, names = MAPS[name]
    label_map = LabelMap.between(source, target, names)
    chain = random_chain(len(source))
    items = mapped(chain, label_map, 3, temperature)
    for item, distribution in zip(items, enumerated(chain, label_map, temperature), strict=True):
        marginals, pairs = counts(distribution, target)
        np.testing.assert_allclose(np.exp(item.log_marginals), marginals, atol=1e-6)
        np.testing.assert_allclose(item.transition_counts, pairs, atol=1e-6)
    batch = collate(list(items), 3, len(target))
    assert inconsistency(Targets(batch.marginals, batch.transition_counts), chain.lengths).max() < 1e-5


@pytest.mark.parametrize("name", MAPS)
def test_the_list_of_all_taggings_and_the_entropy_equal_enumeration_unless_tags_are_merged(name: str) -> None:
    source, target, names = MAPS[name]
    label_map = LabelMap.between(source, target, names)
    chain = random_chain(len(source), seed=1)
    # With every tagging in the list, merged taggings lose nothing either.
    for item, distribution in zip(mapped(chain, label_map, 2000), enumerated(chain, label_map), strict=True):
        weights = np.exp(item.scores - np.logaddexp.reduce(item.scores.astype(np.float64)))
        found = {tuple(target.decode(path)): weight for path, weight in zip(item.paths, weights, strict=True)}
        assert found == pytest.approx(distribution, abs=1e-5)
        assert len(found) == len(item.paths)
        assert (np.diff(item.scores) <= 1e-6).all()
        if label_map.merges:
            assert np.isnan(item.entropy)
        else:
            assert item.entropy == pytest.approx(-sum(p * np.log(p) for p in distribution.values()), abs=1e-5)


def test_merged_taggings_of_a_short_list_add_their_weights() -> None:
    source, target, names = MAPS["merge"]
    label_map = LabelMap.between(source, target, names)
    chain = random_chain(len(source), seed=2)
    fine = extract(fine_chain(chain, label_map), Question(6))[1]
    item = mapped(chain, label_map, 6)[1]
    assert len(fine.paths) == 4
    assert len(item.paths) == 3
    assert np.logaddexp.reduce(item.scores) == pytest.approx(np.logaddexp.reduce(fine.scores), abs=1e-5)


def tagger(labels: LabelSet, seed: int = 0) -> object:
    torch.manual_seed(seed)
    return create(ENCODER, labels)


def test_a_teacher_answers_in_the_students_order_and_tags() -> None:
    own, student = LabelSet(["N", "V", "D", "FW"]), LabelSet(["D", "N", "V"])
    model = tagger(own)
    teacher = Teacher(model, LabelMap.between(own, student, {"FW": None}))  # type: ignore[arg-type]
    items = teacher.knowledge(SENTENCES, Question(2))
    assert [item.log_marginals.shape for item in items] == [(4, 3), (1, 3), (2, 3)]
    predicted = teacher.predict([s.words for s in SENTENCES])
    assert predicted == [student.decode(item.paths[0]) for item in items]
    assert all(tag in student for tags in predicted for tag in tags)


def test_a_teacher_of_the_students_labels_answers_as_its_tagger() -> None:
    labels = LabelSet.for_entities(["PER", "LOC"])
    model = tagger(labels)
    teacher = Teacher(model, labels)  # type: ignore[arg-type]
    words = [s.words for s in SENTENCES]
    assert teacher.predict(words) == predict(model, words)  # type: ignore[arg-type]


def test_a_teacher_of_other_labels_is_refused_without_a_map() -> None:
    with pytest.raises(DataError, match=r"the student lacks Q[\s\S]*label_map: \{Q: null\}"):
        Teacher(tagger(LabelSet(["A", "Q"])), LabelSet(["A"]))  # type: ignore[arg-type]


def test_a_map_from_other_labels_than_the_taggers_is_refused() -> None:
    label_map = LabelMap.between(LabelSet(["B", "A"]), LabelSet(["A", "B"]))
    with pytest.raises(DataError, match="the label map is from B, A"):
        Teacher(tagger(LabelSet(["A", "B"])), label_map)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT token classifier with labels of BIOES in an order of its own."""
    path = tiny_bert(tmp_path_factory.mktemp("classifier"))
    tags = ["S-LOC", "B-LOC", "O", "E-LOC", "I-LOC"]
    torch.manual_seed(3)
    config = BertConfig.from_pretrained(
        path, num_labels=5, id2label=dict(enumerate(tags)), label2id={tag: i for i, tag in enumerate(tags)}
    )
    BertForTokenClassification(config).save_pretrained(path)
    return path


def test_any_token_classifier_is_a_teacher_of_first_sub_tokens(classifier: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    student = LabelSet.for_entities(["LOC"])
    teacher = Teacher.load(classifier, student)
    assert teacher.label_map.source.scheme == "BIOES"
    items = teacher.knowledge(SENTENCES, Question(1))
    for sentence, item in zip(SENTENCES, items, strict=True):
        encoded = tokenizer([list(sentence.words)], is_split_into_words=True, return_tensors="pt")
        words = encoded.word_ids(0)
        with torch.no_grad():
            logits = model(**encoded).logits[0].double()
        first = [words.index(i) for i in range(len(sentence.words))]
        zeros = torch.zeros(5).double()
        chain = LinearChainCRF(logits[first][None], torch.outer(zeros, zeros), zeros, zeros)
        (distribution,) = enumerated(chain, LabelMap.between(teacher.label_map.source, student))
        np.testing.assert_allclose(np.exp(item.log_marginals), counts(distribution, student)[0], atol=1e-5)
        assert tuple(student.decode(item.paths[0])) == max(distribution, key=distribution.__getitem__)


def test_a_label_map_that_leaves_little_of_the_teacher_is_told(
    classifier: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = Teacher.load(classifier, LabelSet.for_entities(["LOC"]))
    with torch.no_grad():
        for parameter in teacher.tagger.model.parameters():
            parameter.zero_()
    with caplog.at_level(logging.WARNING):
        teacher.knowledge(SENTENCES, Question(1))
    assert "express" not in caplog.text
    long = [Sentence(("casa",) * 12, None, "es", "4")]
    with caplog.at_level(logging.WARNING):
        teacher.knowledge(long, Question(1))
    assert "% of its probability to taggings that the student can express; are its labels BIOES?" in caplog.text


def test_without_a_scheme_a_classifiers_knowledge_is_the_softmax(classifier: Path, tmp_path: Path) -> None:
    names = {"LABEL_0": "A", "LABEL_1": "B", "LABEL_2": "C"}
    tiny_bert(tmp_path)
    torch.manual_seed(4)
    config = BertConfig.from_pretrained(tmp_path, num_labels=3)
    BertForTokenClassification(config).save_pretrained(tmp_path)
    teacher = Teacher.load(tmp_path, LabelSet(["C", "B", "A"]), names=names)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    encoded = tokenizer([["casa"]], is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**encoded).logits[0, 1].softmax(-1).flip(0)
    found = teacher.knowledge([SENTENCES[1]], Question(1))[0].log_marginals[0]
    np.testing.assert_allclose(np.exp(found), expected.numpy(), rtol=1e-5)


def test_a_folder_without_a_trained_head_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the weights lack classifier"):
        load_any(tiny_bert(tmp_path))
    with pytest.raises(DataError, match="no tagger at"):
        load_any(tmp_path / "nothing")
