"""`structkd teachers`: list, show, check, schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from structkd.cli.collection import Collection, collection_app

if TYPE_CHECKING:
    from structkd.recipe import Entry


def _entries() -> list[Entry]:
    from structkd.recipe import list_teachers

    return list_teachers()


def _resolve(name: str, overrides: Sequence[str]) -> str:
    from structkd.recipe import dump_teacher, load_teacher

    return dump_teacher(load_teacher(name, overrides))


def _schema() -> dict[str, Any]:
    from structkd.recipe import TeacherCard

    schema = TeacherCard.model_json_schema()
    schema["required"].remove("name")  # a file's name is taken from its path
    return schema


app = collection_app(Collection("teacher card", _entries, _resolve, _schema))
