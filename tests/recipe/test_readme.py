"""The recipes of the README are recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from structkd.recipe import parse_recipe

README = Path(__file__).parents[2] / "README.md"


def block(heading: str) -> str:
    """The first YAML block below a heading."""
    text = README.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    return text.partition("```yaml\n")[2].partition("```")[0]


def test_the_recipe_of_the_readme_loads() -> None:
    assert parse_recipe(block("Recipes"), "README.md").task == "ner"


def test_the_teachers_of_the_readme_load() -> None:
    whole = block("Recipes")
    lines = [line for line in whole.splitlines() if not line.startswith("teachers:")]
    assert len(lines) == len(whole.splitlines()) - 1
    # Its German is no longer unseen once a teacher knows it.
    text = "\n".join(lines).replace("language: de", "language: ru") + "\n" + block("Teachers")
    recipe = parse_recipe(text, "README.md")
    assert [card.is_trained for card in recipe.teachers] == [True, True, False, False]
    assert recipe.unlabeled["no"].teachers == "all"


@pytest.mark.parametrize("heading", ["Recipes", "Teachers"])
def test_the_blocks_are_there(heading: str) -> None:
    assert block(heading)
