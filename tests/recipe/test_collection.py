"""Every file of the collections that come with structkd."""

from __future__ import annotations

from pathlib import Path

import pytest

from structkd.corpus import evenly_spaced, read
from structkd.recipe import (
    PretrainedEncoderSpec,
    RecurrentEncoderSpec,
    dump_recipe,
    list_recipes,
    list_teachers,
    load_recipe,
    load_teacher,
    parse_recipe,
)
from structkd.recipe.catalogue import shipped

RECIPES = [entry.name for entry in list_recipes()]
TEACHERS = [entry.name for entry in list_teachers()]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_under_its_own_name_and_dumps_back_equal(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert parse_recipe(dump_recipe(recipe), "dumped") == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_its_controls_and_several_seeds_or_is_the_quickstart(name):
    recipe = load_recipe(name)
    assert set(recipe.controls) == {"baseline", "pseudo-labels"}
    assert len(recipe.seeds) >= 3 or name == "sample/quickstart"


@pytest.mark.parametrize("name", RECIPES)
def test_no_student_is_larger_than_a_teacher(name):
    recipe = load_recipe(name)
    student = recipe.student.encoder
    for card in filter(lambda card: card.is_trained, recipe.teachers):  # else it is a student of another recipe
        if isinstance(student, RecurrentEncoderSpec):
            assert isinstance(card.encoder, RecurrentEncoderSpec)
            for size in ("ngram_buckets", "ngram_dim", "word_buckets", "word_dim", "hidden", "layers"):
                assert getattr(student, size) <= getattr(card.encoder, size), size
        else:
            assert isinstance(card.encoder, PretrainedEncoderSpec)
            assert student.model == card.encoder.model


@pytest.mark.parametrize("name", TEACHERS)
def test_every_teacher_card_loads_and_states_its_licence(name):
    card = load_teacher(name)
    assert card.name == name
    assert card.provenance is not None
    assert card.provenance.license


@pytest.mark.parametrize(
    "path", sorted(shipped("recipes").rglob("*.yaml")) + sorted(shipped("teachers").rglob("*.yaml"))
)
def test_every_file_is_short_and_begins_by_saying_what_it_is_for(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 120


def test_the_index_names_every_recipe():
    index = (shipped("recipes") / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in index for name in RECIPES)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith(("ud/", "uner/"))])
def test_every_file_that_a_recipe_names_is_among_the_real_data(name, real_data):
    recipe = load_recipe(name)
    own = [card.corpus for card in recipe.teachers if card.corpus is not None]
    named = [path for corpus in own for path in (corpus.train, corpus.dev, corpus.test)]
    named += [unseen.corpus.test for unseen in recipe.unseen]
    named += [path for text in recipe.unlabeled.values() for path in text.paths]
    assert [path for path in named if path is None or not (real_data / path).is_file()] == []


@pytest.mark.parametrize("name", ["ud/sk", "uner/sv"])
def test_a_card_reads_its_real_corpus(name, real_data: Path):
    card = load_teacher(name)
    corpus = card.corpus
    assert corpus.dev is not None
    sentences = read(
        corpus.dev,
        language=card.language,
        format=corpus.format,
        root=real_data,
        tag_column=corpus.tag_column,
        word_column=corpus.word_column,
        scheme=corpus.scheme,
    )
    few, _ = evenly_spaced(sentences, 100)
    assert len(few) == 100
    tags = {tag for sentence in few for tag in sentence.tags or ()}
    assert ("NOUN" in tags) if card.task == "pos" else ("B-PER" in tags)


def test_the_quickstart_reads_every_part_of_the_sample_that_it_names():
    recipe = load_recipe("sample/quickstart")
    untagged = recipe.corpus.untagged
    assert isinstance(untagged, dict)
    parts = [
        (card.language, card.corpus, part)
        for card in recipe.teachers
        for part in (card.corpus.train, card.corpus.dev, card.corpus.test, untagged[card.language])
    ]
    parts += [(unseen.language, unseen.corpus, unseen.corpus.test) for unseen in recipe.unseen]
    for language, corpus, part in parts:
        assert part is not None
        sentences = read(part, language=language, format=corpus.format, tag_column=corpus.tag_column)
        assert sentences
        assert all((sentence.tags is None) == (part == "untagged") for sentence in sentences)
