"""The recipes and teacher cards that come with structkd, and those of a user."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import structkd
from structkd.errors import RecipeError
from structkd.recipe.faults import nearest
from structkd.recipe.loading import Document, read_yaml

RECIPES = "recipes"
TEACHERS = "teachers"
SUFFIXES = (".yaml", ".yml")


class Entry(NamedTuple):
    """A file of a collection."""

    name: str
    path: Path
    description: str


def list_recipes() -> list[Entry]:
    """All recipes by name: those of structkd, then those in `./recipes`."""
    return [_entry(name, path) for name, path in _files(RECIPES).items()]


def list_teachers() -> list[Entry]:
    """All teacher cards by name: those of structkd, then those in `./teachers`."""
    return [_entry(name, path) for name, path in _files(TEACHERS).items()]


def locate(name_or_path: str | Path, collection: str, beside: Path | None = None) -> tuple[str, Path]:
    """Find a file by its name in a collection, or by its path.

    Args:
        name_or_path: `ud/pos-small`, or a path that ends in .yaml or .yml.
        collection: "recipes" or "teachers".
        beside: a file next to which paths are looked up first.

    Returns:
        Its name and its path.

    Raises:
        RecipeError: there is none; the message names the nearest.
    """
    word = "recipe" if collection == RECIPES else "teacher card"
    if str(name_or_path).endswith(SUFFIXES):
        path = Path(name_or_path)
        if beside is not None and (beside.parent / path).is_file():
            path = beside.parent / path
        if not path.is_file():
            raise RecipeError(f"{word} {name_or_path}: there is no such file")
        names = {known.resolve(): name for name, known in _files(collection).items()}
        return names.get(path.resolve(), path.stem), path
    files = _files(collection)
    name = str(name_or_path)
    if name not in files:
        hint = nearest(name, files) or f"; `structkd {collection} list` shows them, a path ends in .yaml"
        raise RecipeError(f"there is no {word} {name!r}{hint}")
    return name, files[name]


def read_file(path: Path) -> Document:
    """Read a YAML file strictly; its name in messages is the path, from the working folder where it is below that."""
    source = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{source}: not UTF-8 ({error.reason} at byte {error.start})") from error
    return read_yaml(text, source)


def shipped(collection: str) -> Path:
    """The folder of a collection that came with structkd: in the installed package, else in the source tree."""
    package = Path(structkd.__file__).resolve().parent
    installed = package / "collections" / collection
    return installed if installed.is_dir() else package.parent / collection


def _files(collection: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in (shipped(collection), Path(collection)):
        found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.y*ml")}
        files |= {name: path for name, path in sorted(found.items()) if name not in files}
    return files


def _entry(name: str, path: Path) -> Entry:
    data = read_file(path).data
    if not isinstance(data, dict):
        return Entry(name, path, "(not a mapping)")
    corpus = data.get("corpus")
    title = corpus.get("title") if isinstance(corpus, dict) else None
    return Entry(name, path, str(data.get("description") or title or ""))
