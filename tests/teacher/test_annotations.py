"""Imported annotations as knowledge, against enumeration."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structkd.corpus import Sentence
from structkd.errors import DataError
from structkd.knowledge import Question, allowed_tags
from structkd.labels import LabelMap, LabelSet, violations
from structkd.teacher import Annotations, Member, TeacherEnsemble
from tests.teacher.test_ensemble import Known

TAGS = LabelSet(["A", "B", "C"])
ENTITIES = LabelSet.for_entities(["P"])


def annotations(path: Path, label_map: LabelMap, *rows: dict[str, Any]) -> Annotations:
    file = path / "notes.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Annotations.read(file, label_map, language="xx")


def plain(
    path: Path, *rows: dict[str, Any], source: LabelSet = TAGS, target: LabelSet = TAGS, **names: Any
) -> Annotations:
    return annotations(path, LabelMap.between(source, target, names), *rows)


def test_tags_are_certainty(tmp_path: Path) -> None:
    source = plain(tmp_path, {"words": ["x", "y", "z"], "tags": ["A", "C", "C"]})
    (item,) = source.knowledge(source.text("xx"), Question(3))
    np.testing.assert_array_equal(np.exp(item.log_marginals), np.eye(3)[[0, 2, 2]])
    assert item.transition_counts.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert item.paths.tolist() == [[0, 2, 2]]
    assert item.scores.tolist() == [0]
    assert item.entropy == 0
    assert allowed_tags(item) is None


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_an_n_best_list_is_the_distribution_over_the_list(tmp_path: Path, temperature: float) -> None:
    rows = [{"tags": ["A", "B"], "weight": 1}, {"tags": ["C", "B"], "weight": 3}, {"tags": ["A", "B"], "weight": 1}]
    source = plain(tmp_path, {"words": ["x", "y"], "nbest": rows})
    (item,) = source.knowledge(source.text("xx"), Question(1, temperature=temperature))
    a, c = (weight ** (1 / temperature) for weight in (2, 3))
    a, c = a / (a + c), c / (a + c)
    np.testing.assert_allclose(np.exp(item.log_marginals), [[a, 0, c], [0, 1, 0]], atol=1e-6)
    assert item.transition_counts[[0, 2], 1] == pytest.approx([a, c])
    assert item.entropy == pytest.approx(-a * np.log(a) - c * np.log(c))
    assert item.paths.tolist() == [[2, 1]]  # cut to k, unlike the expectations


def test_posteriors_of_tags_that_stand_alone_are_what_they_were(tmp_path: Path) -> None:
    shares = [{"A": 0.5, "B": 0.3, "C": 0.2}, {"C": 1.0}]
    source = plain(tmp_path, {"words": ["x", "y"], "posteriors": shares})
    (item,) = source.knowledge(source.text("xx"), Question(5))
    np.testing.assert_allclose(np.exp(item.log_marginals), [[0.5, 0.3, 0.2], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(item.transition_counts[:, 2], [0.5, 0.3, 0.2], atol=1e-6)
    assert item.paths.tolist() == [[0, 2], [1, 2], [2, 2]]


def test_posteriors_of_entities_are_conditioned_on_the_scheme(tmp_path: Path) -> None:
    shares = [{"O": 0.5, "B-P": 0.2, "I-P": 0.3}, {"O": 0.1, "B-P": 0.3, "I-P": 0.6}]
    source = plain(tmp_path, {"words": ["x", "y"], "posteriors": shares}, source=ENTITIES, target=ENTITIES)
    (item,) = source.knowledge(source.text("xx"), Question(9))
    masses = {
        (a, b): shares[0][a] * shares[1][b] for a in shares[0] for b in shares[1] if not violations([a, b], "IOB2")
    }
    total = sum(masses.values())
    expected = np.zeros((2, 3))
    for pair, mass in masses.items():
        expected[[0, 1], ENTITIES.ids(pair)] += mass / total
    np.testing.assert_allclose(np.exp(item.log_marginals), expected, atol=1e-6)
    assert len(item.paths) == len(masses)


def test_tags_known_in_part_say_what_is_possible_also_in_a_finer_scheme(tmp_path: Path) -> None:
    target = LabelSet.for_entities(["P"], "BIOES")
    row = {"words": ["x", "y", "z"], "tags": ["B-P", None, "O"]}
    source = plain(tmp_path, row, source=ENTITIES, target=target)
    (item,) = source.knowledge(source.text("xx"), Question(2))
    allowed = allowed_tags(item)
    assert allowed is not None
    assert [{target.tags[i] for i in np.flatnonzero(word)} for word in allowed] == [
        {"B-P", "S-P"},
        set(target.tags),
        {"O"},
    ]


def test_nothing_is_known_about_other_sentences_and_other_words(tmp_path: Path) -> None:
    source = plain(tmp_path, {"id": "1", "words": ["x"], "tags": ["A"]}, {"id": "2", "words": ["y"], "tags": [None]})
    known, unknown = source.text("xx")
    others = [unknown, Sentence(("y",), None, "xx", "1"), Sentence(("x",), None, "xx", "3")]
    assert source.knows(known)
    assert not any(source.knows(sentence) for sentence in others)
    for item in source.knowledge(others, Question(1)):
        allowed = allowed_tags(item)
        assert allowed is not None
        assert allowed.all()


def test_dropped_tags_are_conditioned_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nbest = [{"tags": ["A", "X"], "weight": 5}, {"tags": ["A", "C"], "weight": 1}, {"tags": ["B", "C"], "weight": 3}]
    with caplog.at_level(logging.WARNING):
        source = plain(
            tmp_path,
            {"words": ["x", "y"], "tags": ["X", "A"]},
            {"words": ["x", "y"], "nbest": nbest},
            {"words": ["x"], "posteriors": [{"A": 0.1, "B": 0.3, "X": 0.6}]},
            {"words": ["x"], "posteriors": [{"X": 1.0}]},
            {"words": ["x", "y"], "tags": ["X", None]},
            source=LabelSet(["X", "A", "B", "C"]),
            X=None,
        )
    silent, listed, shares, *more = source.text("xx")
    assert [source.knows(sentence) for sentence in (silent, *more)] == [False] * 3
    assert "of 3 sentences only tags are known that are dropped" in caplog.text
    items = source.knowledge([listed, shares], Question(3))
    np.testing.assert_allclose(np.exp(items[0].log_marginals), [[0.25, 0.75, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(np.exp(items[1].log_marginals), [[0.25, 0.75, 0]], atol=1e-6)


def test_broken_entities_are_repaired_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        source = plain(tmp_path, {"words": ["x", "y"], "tags": ["O", "I-P"]}, source=ENTITIES, target=ENTITIES)
    assert source.knowledge(source.text("xx"), Question(1))[0].paths.tolist() == [[0, 1]]
    assert "1 tags broke the scheme IOB2, repaired" in caplog.text


def test_foreign_tags_and_impossible_taggings_are_told_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        plain(
            tmp_path,
            {"words": ["x"], "tags": ["B-Q"]},
            {"words": ["x", "y"], "tags": ["O", None]},
            {"words": ["x", "y", "z"], "tags": [None, "O", "I-P"]},
            {"words": ["x", "y"], "posteriors": [{"O": 1}, {"I-P": 1}]},
            source=ENTITIES,
            target=ENTITIES,
        )
    first, third, fourth = str(caught.value).split("\n")
    assert "notes.jsonl:1: not in the label set: 'B-Q'" in first
    assert "notes.jsonl:3: no tagging that the scheme IOB2 allows agrees" in third
    assert "notes.jsonl:4: no tagging" in fourth


def test_known_tags_condition_a_teacher_in_a_product(tmp_path: Path) -> None:
    source = plain(tmp_path, {"id": "3", "words": ["a", "b", "c"], "tags": ["A", None, "C"]})
    (sentence,) = source.text("aa")
    teacher = Known(1)
    team = TeacherEnsemble({"aa": [Member(teacher), Member(source)]}, combine="product")
    (item,) = team.knowledge([sentence], Question(9))
    assert item.paths[:, [0, 2]].tolist() == [[0, 2]] * 3
    chain = teacher.chains([sentence])[0]
    scores = [
        float(chain.emissions[1, tag] + chain.transitions[0, tag] + chain.transitions[tag, 2]) for tag in range(3)
    ]
    expected = torch.tensor(scores).div(2).softmax(0)
    np.testing.assert_allclose(np.exp(item.log_marginals[1]), expected, atol=1e-6)


def test_an_n_best_list_is_no_chain(tmp_path: Path) -> None:
    rows = [{"tags": ["A"], "weight": 1}, {"tags": ["B"], "weight": 1}]
    source = plain(tmp_path, {"words": ["x"], "nbest": rows})
    with pytest.raises(DataError, match=r"line 1: an n-best list is no chain"):
        source.chains(source.text("xx"))


def test_posteriors_have_potentials_in_the_students_tags(tmp_path: Path) -> None:
    source = plain(tmp_path, {"words": ["x"], "posteriors": [{"A": 0.25, "C": 0.75}]}, target=LabelSet(["C", "B", "A"]))
    (chain,) = source.chains(source.text("xx"))
    assert chain.emissions.exp().tolist() == [pytest.approx([0.75, 0.0, 0.25])]
