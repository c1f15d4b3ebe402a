"""What a recipe reads: whose sentences are gold, untagged text and test sets, under which tags."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from structkd.corpus import read
from structkd.errors import RecipeError
from structkd.labels import LabelSet
from structkd.stages.corpora import load_corpora
from tests.stages.toy import AA, BB, card, foreign_corpus, teacher_recipe


def test_a_corpus_of_other_tags_is_learnt_in_the_students_tags(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    foreign_corpus(root, "ff", {"N": "NN"})
    labels = card("ff", label_map="{NN: N, X: null}", labels="{tags: [X, V, NN, D]}").replace("aa.", "ff.")
    with caplog.at_level(logging.WARNING):
        corpora = load_corpora(teacher_recipe(root, labels))
    own, text = corpora.teachers["toy/ff"], corpora.texts["aa"]
    assert own.labels == LabelSet(["X", "V", "NN", "D"])
    assert len(own.gold) == 30
    assert {tag for sentence in own.gold for tag in sentence.tags or ()} == {"X", "V", "NN", "D"}
    dropped = [sentence for sentence in own.gold if "X" in (sentence.tags or ())]
    assert len(text.gold) == 30 - len(dropped) < 30
    assert {tag for sentence in text.gold for tag in sentence.tags or ()} == {"N", "V", "D"}
    # Given that X does not occur, a sentence with it says nothing about tags, but is text like any other.
    assert [sentence.words for sentence in text.untagged[: len(dropped)]] == [sentence.words for sentence in dropped]
    assert len(text.gold) + len(text.untagged) == 80
    assert "2 test sentences have tags that are dropped" in caplog.text
    assert len(corpora.tests[0].sentences) == 18


def test_labels_that_do_not_map_are_refused_when_the_recipe_is_read(root: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        teacher_recipe(root, card("ff", labels="{tags: [X, V, D]}"))
    message = str(caught.value)
    assert "teachers.0.label_map: teacher toy/ff: its labels do not map" in message
    assert "label_map: {X: null}" in message
    assert "lacks: [N]" in message


def test_cards_that_share_a_corpus_do_not_double_it(root: Path) -> None:
    corpora = load_corpora(teacher_recipe(root, AA + card("again", weight="2.0")))
    assert corpora.texts["aa"].teachers == ("toy/aa", "toy/again")
    assert len(corpora.texts["aa"].gold) == 30
    assert len(corpora.tests[0].sentences) == 20


def test_two_corpora_of_a_language_are_one_text_and_one_test_set(root: Path) -> None:
    corpora = load_corpora(teacher_recipe(root, AA + card("other").replace("aa.", "bb.")))
    assert len(corpora.texts["aa"].gold) == 60
    assert [(test.language, test.title, len(test.sentences)) for test in corpora.tests] == [
        ("aa", "Toy aa + Toy aa", 40),
        ("cc", "Toy cc", 20),
    ]


def test_unlabeled_text_joins_its_language_or_stands_apart(root: Path) -> None:
    more = "unlabeled: {aa: cc.train.jsonl, cc: {path: cc.dev.jsonl, teachers: all, limit: 7}}"
    corpora = load_corpora(teacher_recipe(root, AA + BB, more))
    assert len(corpora.texts["aa"].untagged) == 50 + 80
    apart = corpora.texts["cc-unlabeled"]
    assert (apart.language, apart.teachers, len(apart.untagged)) == ("cc", ("toy/aa", "toy/bb"), 7)
    assert all(sentence.tags is None for sentence in apart.untagged)


def test_unlabeled_text_may_be_in_several_files(root: Path) -> None:
    more = "unlabeled: {cc: {path: [cc.dev.jsonl, cc.train.jsonl], teachers: all}}"
    parts = [read(name, language="cc", root=root, tag_column="none") for name in ("cc.dev.jsonl", "cc.train.jsonl")]
    found = load_corpora(teacher_recipe(root, AA + BB, more)).texts["cc-unlabeled"].untagged
    assert [s.words for s in found] == [s.words for part in parts for s in part]
    with pytest.raises(RecipeError, match=r"unlabeled\.cc\.path: got \[\]"):
        teacher_recipe(root, AA + BB, "unlabeled: {cc: {path: [], teachers: all}}")
