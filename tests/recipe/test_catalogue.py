from __future__ import annotations

import pytest

from structkd.errors import DataError, RecipeError
from structkd.recipe import corpus_root, list_recipes, list_teachers, load_recipe, load_teacher


def test_the_files_of_a_user_are_listed_with_those_of_structkd(folder):
    recipes = {entry.name: entry for entry in list_recipes()}
    assert recipes["mine/small"].description == "a small recipe"
    assert {entry.name: entry.description for entry in list_teachers()}["mine/en"] == "UD English"


def test_a_file_is_found_by_name_and_by_path(folder):
    assert load_recipe("recipes/mine/small.yaml") == load_recipe("mine/small")
    assert load_teacher(folder / "teachers" / "mine" / "en.yaml") == load_teacher("mine/en")


def test_a_card_is_found_beside_the_recipe_that_names_it(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "fr.yaml").write_text((folder / "teachers/mine/en.yaml").read_text())
    recipe = folder / "elsewhere" / "r.yaml"
    recipe.write_text((folder / "recipes/mine/small.yaml").read_text().replace("mine/en", "fr.yaml"))
    assert load_recipe(recipe).teachers[0].name == "fr"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine/smal", "there is no recipe 'mine/smal'; did you mean 'mine/small'?"),
        ("qqq", "`structkd recipes list` shows them"),
        ("nothing.yaml", "recipe nothing.yaml: there is no such file"),
    ],
)
def test_an_unknown_recipe_is_told_with_the_nearest(folder, name, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert message in str(caught.value)


def test_every_unknown_card_of_a_recipe_is_named(folder):
    with pytest.raises(RecipeError) as caught:
        load_recipe("mine/small", ["teachers=[mine/em, none.yaml]"])
    assert "teachers.0: there is no teacher card 'mine/em'; did you mean 'mine/en'?" in str(caught.value)
    assert "teachers.1: teacher card none.yaml: there is no such file" in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused_by_name(folder):
    (folder / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.yaml: not UTF-8"):
        load_recipe("latin.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(folder):
    path = folder / "recipes" / "mine" / "small.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_recipe("mine/small").name == "mine/small"


class TestCorpusRoot:
    def test_the_override_comes_before_the_environment(self, folder):
        for name in ("a", "b"):
            (folder / name).mkdir()
        recipe = load_recipe("mine/small", ["corpus.root=a"])
        assert corpus_root(recipe, {"STRUCTKD_DATA": "b"}).name == "a"
        assert corpus_root(load_recipe("mine/small"), {"STRUCTKD_DATA": "b"}).name == "b"

    def test_without_any_a_recipe_that_reads_files_is_refused(self, folder):
        with pytest.raises(DataError, match=r"--set corpus\.root=FOLDER or set STRUCTKD_DATA"):
            corpus_root(load_recipe("mine/small"), {})

    def test_a_root_that_is_no_folder_is_refused_with_its_origin(self, folder):
        with pytest.raises(DataError, match=r"STRUCTKD_DATA is 'nowhere'"):
            corpus_root(load_recipe("mine/small"), {"STRUCTKD_DATA": "nowhere"})

    def test_sample_corpora_need_none(self, folder):
        sample = "{format: sample, tag_column: upos, train: train, test: test}"
        recipe = load_recipe("mine/small", [f"teachers.0.corpus={sample}", f"unseen.0.corpus={sample}"])
        assert corpus_root(recipe, {}) is None
