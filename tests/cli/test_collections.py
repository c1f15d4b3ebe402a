from __future__ import annotations

import json

import pytest

from structkd.cli import main
from structkd.recipe import list_recipes, list_teachers, load_recipe, load_teacher, parse_recipe

CARD = """\
language: en
task: pos
corpus: {title: UD English, format: conllu, tag_column: upos, train: a.conllu, test: b.conllu}
encoder: {type: recurrent, ngram_buckets: 100, ngram_dim: 8, hidden: 8, dropout: 0.1}
training: {epochs: 2, batch_size: 4, learning_rate: 1e-3}
"""


def test_list_shows_every_name_with_its_description(capsys):
    assert main(["recipes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in list_recipes()]
    assert main(["teachers", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [entry.name for entry in list_teachers()]
    assert set(rows[0]) == {"name", "path", "description"}


def test_show_prints_the_resolved_recipe_with_its_overrides(capsys):
    assert main(["recipes", "show", "ud/pos-small", "--set", "seeds=[4]", "--set", "teachers.0.training.epochs=1"]) == 0
    recipe = parse_recipe(capsys.readouterr().out, "stdout")
    assert recipe == load_recipe("ud/pos-small", ["seeds=[4]", "teachers.0.training.epochs=1"])
    assert recipe.teachers[0].training.epochs == 1


def test_show_prints_a_card_that_loads_back(capsys, tmp_path):
    (tmp_path / "en.yaml").write_text(CARD)
    assert main(["teachers", "show", str(tmp_path / "en.yaml")]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    assert load_teacher(tmp_path / "shown.yaml") == load_teacher(tmp_path / "en.yaml")


@pytest.mark.parametrize("collection", ["recipes", "teachers"])
def test_check_passes_all_that_come_with_structkd(capsys, collection):
    assert main([collection, "check"]) == 0
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert names == [entry.name for entry in (list_recipes if collection == "recipes" else list_teachers)()]


def test_check_names_the_faults_of_every_file_and_has_status_2(capsys, tmp_path):
    for name, text in {"good": CARD, "bad": CARD.replace("epochs", "epoch"), "worse": "a: ["}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert main(["teachers", "check", *(str(tmp_path / f"{name}.yaml") for name in ("bad", "good", "worse"))]) == 2
    output = capsys.readouterr()
    assert output.out == f"ok  {tmp_path}/good.yaml\n"
    assert "training.epoch: unknown key; did you mean 'epochs'?" in output.err
    assert "worse.yaml: 1 fault" in output.err


def test_schema_prints_a_json_schema(capsys):
    assert main(["recipes", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Recipe"
    assert main(["teachers", "schema"]) == 0
    assert "name" not in json.loads(capsys.readouterr().out)["required"]


def test_an_unknown_recipe_has_status_2(capsys):
    assert main(["recipes", "show", "ud/pos-smal"]) == 2
    assert "did you mean 'ud/pos-small'?" in capsys.readouterr().err
