"""`structkd recipes`: list, show, check, schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from structkd.cli.collection import Collection, collection_app

if TYPE_CHECKING:
    from structkd.recipe import Entry


def _entries() -> list[Entry]:
    from structkd.recipe import list_recipes

    return list_recipes()


def _resolve(name: str, overrides: Sequence[str]) -> str:
    from structkd.recipe import dump_recipe, load_recipe

    return dump_recipe(load_recipe(name, overrides))


def _schema() -> dict[str, Any]:
    from structkd.recipe import Recipe

    return Recipe.model_json_schema()


app = collection_app(Collection("recipe", _entries, _resolve, _schema))
