"""Any teacher in a recipe: other tags, models and annotations from elsewhere, ensembles, folds, unlabeled text."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structkd.corpus import read, token_fingerprint
from structkd.errors import DataError, RecipeError, UsageError
from structkd.knowledge import KnowledgeStore, Question, Targets, allowed_tags, collate, inconsistency
from structkd.labels import LabelSet
from structkd.recipe import EntityLabels, load_recipe
from structkd.stages import RunDirectory, Silence, make_plan, run
from structkd.stages.corpora import load_corpora, model_labels
from structkd.stages.imports import import_annotations
from structkd.tagger import create, load_any
from structkd.teacher import Teacher
from tests.stages.toy import AA, BB, annotate, card, foreign_corpus, teacher_recipe


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "unlabeled: {cc: cc.dev.jsonl}",
            "no teacher for cc; expected who labels it: {path: cc.dev.jsonl, teachers: all}",
        ),
        ("unlabeled: {cc: {path: x, teachers: [toy/ab]}}", "there is no teacher toy/ab; did you mean 'toy/aa'?"),
        ("unlabeled: {aa: {path: x, format: hub}}", "expected a file"),
        ("ensemble: {combine: sum}", "expected one of mixture, product"),
        ("folds: 1", "folds: got 1, expected at least 2"),
    ],
)
def test_sections_about_teachers_must_fit(root: Path, more: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        teacher_recipe(root, AA, more)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: x, annotations: y", "got a model too"),
        ("model: x, training: {epochs: 1, batch_size: 1, learning_rate: 1}", "nothing is trained where the card names"),
        ("weight: 1.0", "missing: what the teacher is trained and tested on"),
        ("annotations: y, weight: 0", "got 0, expected more than 0"),
    ],
)
def test_a_card_is_trained_or_names_a_model_or_annotations(root: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        teacher_recipe(root, f"- {{name: toy/x, language: aa, task: pos, {text}}}")
    assert message in str(caught.value)


def test_a_model_is_read_in_the_scheme_that_its_card_states(root: Path) -> None:
    tags = ["B-LOC", "I-PER", "I-LOC", "O"]  # as a model of CoNLL 2003 has them, in IOB1
    (root / "config.json").write_text(json.dumps({"model_type": "bert", "id2label": dict(enumerate(tags))}))
    given = f"{{name: x, language: aa, task: ner, model: {root}, labels: {{entities: [LOC, PER], scheme: IOB1}}}}"
    stated = load_recipe("uner/ner-small", [f"teachers=[{given}]", "labels={entities: [PER, LOC]}"]).teachers[0]
    assert model_labels(stated) == LabelSet(tags, "IOB1")
    assert model_labels(stated.model_copy(update={"labels": None})).scheme == "IOB2"
    narrower = EntityLabels(entities=("LOC",), scheme="IOB1")
    with pytest.raises(DataError, match="has the labels I-PER, its card does not"):
        model_labels(stated.model_copy(update={"labels": narrower}))


def test_keys_change_with_what_the_knowledge_is_made_from(root: Path) -> None:
    pair = AA + card("again")
    plans = [
        make_plan(teacher_recipe(root, *parts))
        for parts in (
            (AA,),
            (AA, "folds: 2"),
            (pair,),
            (pair, "ensemble: {combine: product}"),
            (AA + card("again", weight="2.0"),),
        )
    ]
    keys = [plan.extract[0].key for plan in plans]
    assert len(set(keys)) == len(keys)
    assert len({plan.teach[0].key for plan in plans}) == 1
    assert [job.model for job in plans[1].teach] == ["teachers/toy/aa", "folds/toy/aa/0", "folds/toy/aa/1"]
    assert len({job.key for job in plans[1].teach}) == 3


def test_annotations_are_checked_against_the_corpus_before_anything_is_trained(root: Path) -> None:
    notes = annotate(root, "notes.jsonl", [{"id": "1", "words": ["no", "such", "words"], "tags": ["D", "N", "V"]}])
    given = "- {name: toy/notes, language: aa, task: pos, annotations: notes.jsonl, corpus: {train: aa.train.jsonl}}"
    with pytest.raises(DataError, match=rf"{notes}:1: sentence '1': (word 1 is 'no'|3 words)"):
        load_corpora(teacher_recipe(root, given))


@pytest.mark.parametrize(
    ("teachers", "more", "reason"),
    [
        (AA + card("again"), "", "a mixture has none"),
        (AA + card("again"), "ensemble: {combine: product}", None),
        (card("x", label_map="{X: N}"), "", "several tags of teacher toy/x become one"),
        (card("x", label_map="{X: null}"), "", None),
        ("- {name: n, language: aa, task: pos, annotations: tags.jsonl}", "", "annotations n are not all posteriors"),
        ("- {name: n, language: aa, task: pos, annotations: shares.jsonl}", "", None),
    ],
)
def test_objectives_that_match_potentials_need_teachers_that_have_some(
    root: Path, teachers: str, more: str, reason: str | None
) -> None:
    annotate(root, "tags.jsonl", [{"words": ["x"], "tags": ["N"]}])
    annotate(root, "shares.jsonl", [{"words": ["x"], "posteriors": [{"N": 1.0}]}])
    recipe = teacher_recipe(root, teachers, more).model_copy(update={"objective": ("emission_mse",)})
    if reason is None:
        assert "emissions" in make_plan(recipe).extract[0].facts.parts
        return
    with pytest.raises(UsageError, match=reason):
        make_plan(recipe)


class Jobs(Silence):
    def __init__(self) -> None:
        self.done: dict[str, tuple[int, int]] = {}

    def stage(self, name: str, jobs: int, done: int) -> None:
        self.done[name] = (jobs, done)


def test_all_kinds_of_teachers_run_through_all_stages_and_resume(root: Path) -> None:
    """aa: two cross-fitted teachers, one of other tags; bb: a model; dd: annotations; cc: by all teachers."""
    foreign_corpus(root, "ff", {"N": "NN"})
    torch.manual_seed(0)
    encoder = {"type": "recurrent", "ngram_buckets": 200, "ngram_dim": 8, "hidden": 8, "dropout": 0.1}
    create(encoder, LabelSet(["D", "Q", "V", "N"])).save(root / "model")
    chance = random.Random(0)
    words = [[f"d{chance.randrange(20)}{ending}" for ending in ("el", "o", "at")] for _ in range(30)]
    kinds: list[dict[str, Any]] = [
        {"tags": ["D", "N", "V"]},
        {"tags": ["D", None, "V"]},
        {"nbest": [{"tags": ["D", "N", "V"], "weight": 0.9}, {"tags": ["D", "N", "N"], "weight": 0.1}]},
        {"posteriors": [{"D": 0.9, "N": 0.1}, {"N": 1.0}, {"V": 0.8, "N": 0.2}]},
    ]
    annotate(root, "dd.jsonl", [{"words": w, **kinds[i % 4]} for i, w in enumerate(words)])
    teachers = (
        AA
        + card("ff", label_map="{NN: N, X: null}", labels="{tags: [X, V, NN, D]}", weight="0.5").replace("aa.", "ff.")
        + f"- {{name: toy/model, language: bb, task: pos, model: {root}/model, label_map: {{Q: null}},\n"
        "   corpus: {title: Toy bb, train: bb.train.jsonl, test: bb.test.jsonl}}\n"
        "- {name: toy/notes, language: dd, task: pos, annotations: dd.jsonl}\n"
    )
    recipe = teacher_recipe(
        root, teachers, "folds: 2\nunlabeled: {cc: {path: cc.train.jsonl, teachers: all, limit: 20}}"
    )
    directory = run(recipe, root / "runs")
    plan = make_plan(recipe)
    stores = {job.text: KnowledgeStore(directory.knowledge(job.key)) for job in plan.extract}
    assert {name: len(store) for name, store in stores.items()} == {
        "aa": len(plan.corpora.texts["aa"].gold) + len(plan.corpora.texts["aa"].untagged),
        "bb": 80,
        "dd": 30,
        "cc-unlabeled": 20,
    }
    for name, store in stores.items():
        items = [item for item in store if allowed_tags(item) is None]
        assert len(items) == len(store) - (8 if name == "dd" else 0)
        lengths = torch.tensor([len(item.log_marginals) for item in items])
        batch = collate(list(items), int(lengths.max()), 3)
        assert inconsistency(Targets(batch.marginals, batch.transition_counts), lengths).max() < 5e-3, name
    rows = json.loads(directory.scores.read_text(encoding="utf-8"))
    found = {(row["role"], row["method"], row["language"]) for row in rows}
    assert {("teacher", "toy/ff", "aa"), ("teacher", "toy/model", "bb"), ("teacher", "toy/model", "cc")} <= found
    assert {("ensemble", "mixture", language) for language in ("aa", "cc")} <= found
    assert {("student", "structural", language) for language in ("aa", "bb", "cc")} <= found
    again = Jobs()
    run(recipe, root / "runs", display=again)
    assert all(jobs == done for jobs, done in again.done.values())
    assert again.done["teach"] == (6, 6)
    _check_folds(directory, plan)


def _check_folds(directory: RunDirectory, plan: Any) -> None:
    """A gold sentence is labelled by the mixture of the teachers that did not see it."""
    corpora = plan.corpora
    text, store = corpora.texts["aa"], KnowledgeStore(directory.knowledge(plan.extract[0].key))
    labellers = plan.extract[0].labellers
    sentence, item = text.gold[0], store[0]
    expected, total = 0.0, 0.0
    for labeller in labellers:
        gold = [token_fingerprint(s.words) for s in corpora.teachers[labeller.card.name].gold]
        fold = list(dict.fromkeys(gold)).index(token_fingerprint(sentence.words)) % 2
        tagger = load_any(directory.model(f"folds/{labeller.card.name}/{fold}"))
        teacher = Teacher(tagger, corpora.maps[labeller.card.name])
        (knowledge,) = teacher.knowledge([sentence], Question(1))
        expected = expected + labeller.card.weight * np.exp(knowledge.log_marginals.astype(float))
        total += labeller.card.weight
    np.testing.assert_allclose(np.exp(item.log_marginals.astype(float)), expected / total, atol=2e-3)


def test_imported_annotations_are_the_store_that_a_run_with_their_card_uses(root: Path) -> None:
    train = [json.loads(line) for line in (root / "aa.train.jsonl").read_text().splitlines()]
    notes = annotate(root, "notes.jsonl", [{"id": str(i), "tags": row["tags"]} for i, row in enumerate(train[:60], 1)])
    recipe = teacher_recipe(root, AA + BB)
    found = import_annotations(recipe, notes, root / "runs", language="aa")
    assert found.sentences["tags"] == 60
    assert found.card["annotations"] == str(notes)
    assert found.card["corpus"]["train"] == "aa.train.jsonl"
    store = KnowledgeStore(found.store)
    # Gold sentences keep their place also where nothing else is known about them; other text does not.
    text = load_corpora(recipe).texts["aa"]
    annotated = [sentence for sentence in text.untagged if int(sentence.id) <= 60]
    assert 0 < len(annotated) < len(text.untagged)
    assert len(store) == len(text.gold) + len(annotated)
    named = teacher_recipe(root, f"- {json.dumps(found.card)}\n" + BB)
    assert found.store in [
        RunDirectory(root / "runs" / named.name).knowledge(job.key) for job in make_plan(named).extract
    ]


def test_an_import_is_refused_line_by_line_or_for_want_of_a_language(root: Path) -> None:
    notes = annotate(root, "notes.jsonl", [{"words": ["x"], "tags": ["Q"]}, {"words": ["y"], "tags": ["N", "V"]}])
    recipe = teacher_recipe(root, AA + BB)
    with pytest.raises(DataError, match=r"notes\.jsonl:2: 1 words but 2 tags"):
        import_annotations(recipe, notes, root / "runs", language="zz")
    notes = annotate(root, "notes.jsonl", [{"words": ["x"], "tags": ["Q"]}])
    with pytest.raises(DataError, match=r"notes\.jsonl:1: not in the label set: 'Q'"):
        import_annotations(recipe, notes, root / "runs", language="zz")
    with pytest.raises(UsageError, match=r"may be aa, bb; give --language"):
        import_annotations(recipe, notes, root / "runs")
    with pytest.raises(DataError, match="there is no such file"):
        import_annotations(recipe, root / "nothing.jsonl", root / "runs")


def test_real_entities_by_a_teacher_of_other_types_order_and_scheme(real_data: Path, tmp_path: Path) -> None:
    """Swedish in BIOES with OTH and another order, Portuguese as usual: one IOB2 student of PER, LOC and ORG."""
    recipe = load_recipe(
        "uner/ner-small",
        [
            f"corpus.root={real_data}",
            "corpus.gold=100",
            "corpus.untagged_limit=100",
            "teachers=[uner/pt, uner/sv]",
            "teachers.*.corpus.dev=null",
            "teachers.*.training.epochs=1",
            "teachers.1.labels={entities: [OTH, LOC, PER, ORG], scheme: BIOES}",
            "teachers.1.label_map={OTH: O}",
            "student.training.epochs=1",
            "unseen=[]",
            "controls=[]",
            "seeds=[1]",
        ],
    )
    directory = run(recipe, tmp_path)
    plan = make_plan(recipe)
    assert plan.corpora.teachers["uner/sv"].labels.scheme == "BIOES"
    assert any(tag.startswith("S-") for s in plan.corpora.teachers["uner/sv"].gold for tag in s.tags or ())
    stores = {job.text: KnowledgeStore(directory.knowledge(job.key)) for job in plan.extract}
    assert stores["sv"].facts.labels == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    item = stores["sv"][150]
    outside_then_inside = item.transition_counts[0, [2, 4, 6]]
    assert outside_then_inside.tolist() == [0, 0, 0]  # IOB2 forbids it, whatever the teacher wrote with
    assert np.isnan(item.entropy)  # OTH was merged into O
    assert not np.isnan(stores["pt"][150].entropy)
    rows = json.loads(directory.scores.read_text(encoding="utf-8"))
    assert {row["language"] for row in rows if row["role"] == "student"} == {"pt", "sv"}


def test_real_parts_of_speech_by_imported_annotations(real_data: Path, tmp_path: Path) -> None:
    """Portuguese by a trained teacher, Slovak by annotations of all four kinds about its real training sentences."""
    from structkd.corpus import evenly_spaced

    path = "pos/train/sk_snk/train.conllu.gz"
    sentences, _ = evenly_spaced(read(path, language="sk", root=real_data, tag_column="upos"), 160)
    rows: list[dict[str, Any]] = []
    for number, sentence in enumerate(sentences):
        tags = list(sentence.tags or ())
        other = ["NOUN", *tags[1:]]
        kinds: list[dict[str, Any]] = [
            {"tags": tags},
            {"tags": [None if i % 3 == 0 else tag for i, tag in enumerate(tags)]},
            {"nbest": [{"tags": tags, "weight": 0.8}, {"tags": other, "weight": 0.2}]},
            {"posteriors": [{tag: 0.9, "X": 0.1} if tag != "X" else {tag: 1.0} for tag in tags]},
        ]
        rows.append({"id": sentence.id, "words": list(sentence.words), **kinds[number % 4]})
    notes = annotate(tmp_path, "sk.jsonl", rows)
    test = "{title: UD Slovak-SNK, test: pos/train/sk_snk/test.conllu.gz}"
    recipe = load_recipe(
        "ud/pos-small",
        [
            f"corpus.root={real_data}",
            "corpus.gold=40",
            "corpus.untagged_limit=40",
            f"teachers=[ud/pt, {{name: notes/sk, language: sk, task: pos, annotations: {notes}, corpus: {test}}}]",
            "teachers.0.training.epochs=1",
            "teachers.0.corpus.dev=null",
            "student.training.epochs=4",
            "student.training.batch_size=8",
            "unseen=[]",
            "controls=[]",
            "seeds=[1]",
        ],
    )
    directory = run(recipe, tmp_path / "runs")
    found = json.loads(directory.scores.read_text(encoding="utf-8"))
    value = {
        (row["role"], row["language"]): row["value"]
        for row in found
        if row["label"] == "all" and row["subset"] == "all" and row["metric"] == "accuracy"
    }
    # No gold sentence of Slovak: all that the student knows about it comes from the annotations.
    assert value["student", "sk"] > 50
    assert ("teacher", "sk") not in value
