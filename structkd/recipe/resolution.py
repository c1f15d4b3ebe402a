"""From a name to a complete recipe: overrides applied, teacher cards written in, everything checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from structkd.errors import DataError, RecipeError
from structkd.recipe.catalogue import RECIPES, TEACHERS, locate, read_file
from structkd.recipe.checks import card_faults, recipe_faults
from structkd.recipe.corpora import CorpusSpec
from structkd.recipe.faults import Fault, Position, refusal
from structkd.recipe.loading import Document, assignment_path, read_yaml, set_value, write_yaml
from structkd.recipe.schema import Recipe, TeacherCard
from structkd.recipe.validation import Section, validate

DATA_VARIABLE = "STRUCTKD_DATA"


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name or path, complete with its teacher cards.

    Args:
        name_or_path: `ud/pos-small`, or a path that ends in .yaml.
        overrides: assignments `a.b=value` as of `--set`; list items go by number. The value is read as in a file.

    Raises:
        RecipeError: there is no such recipe, or it has faults; all of them are named.
    """
    _, path = locate(name_or_path, RECIPES)
    return _recipe_of(read_file(path), overrides, path)


def parse_recipe(text: str, source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Like `load_recipe`, from a text, such as a run directory's `recipe.yaml`; `source` names it in messages."""
    return _recipe_of(read_yaml(text, source), overrides, None)


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML; loading it gives an equal recipe."""
    return write_yaml(recipe.model_dump(mode="json"))


def load_teacher(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TeacherCard:
    """Load one teacher card by name or path."""
    document = _card_document(str(name_or_path), None)
    for assignment in overrides:
        set_value(document, assignment)
    card, faults = validate(TeacherCard, document)
    return _accepted(card, faults, document, card_faults)


def dump_teacher(card: TeacherCard) -> str:
    """A teacher card as YAML; loading it gives an equal card."""
    return write_yaml(card.model_dump(mode="json"))


def corpus_root(recipe: Recipe, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder under which the recipe's corpora lie; None for one that reads no files.

    Raises:
        DataError: it reads files, and neither `corpus.root` nor STRUCTKD_DATA names a folder.
    """
    root = recipe.corpus.root or environment.get(DATA_VARIABLE)
    if root:
        if not Path(root).is_dir():
            origin = "corpus.root" if recipe.corpus.root else DATA_VARIABLE
            raise DataError(f"{origin} is {root!r}, which is no folder; expected the folder of the corpora")
        return Path(root)
    if all(corpus.format in ("sample", "hub") for corpus in _corpora(recipe)):
        return None
    raise DataError(
        f"recipe {recipe.name} reads files, and nothing says where they are; "
        f"give --set corpus.root=FOLDER or set {DATA_VARIABLE}"
    )


def _corpora(recipe: Recipe) -> Iterator[CorpusSpec]:
    yield from (card.corpus for card in recipe.teachers if card.corpus is not None)
    yield from (unseen.corpus for unseen in recipe.unseen)


def _recipe_of(document: Document, overrides: Sequence[str], path: Path | None) -> Recipe:
    for assignment in overrides:
        target = assignment_path(assignment)
        if target[0] == "teachers" and len(target) > 2:
            _write_in_cards(document, path)
        set_value(document, assignment)
    _write_in_cards(document, path)
    recipe, faults = validate(Recipe, document)
    return _accepted(recipe, faults, document, recipe_faults)


def _accepted(
    section: Section | None, faults: list[Fault], document: Document, check: Callable[[Section], Iterable[Fault]]
) -> Section:
    if section is not None:
        faults = [fault._replace(position=document.position(fault.path)) for fault in check(section)]
    if section is None or faults:
        raise refusal(document.source, faults)
    return section


def _write_in_cards(document: Document, path: Path | None) -> None:
    """Replace the names of teacher cards by their content, where a later override can reach it."""
    teachers = document.data.get("teachers") if isinstance(document.data, dict) else None
    if not isinstance(teachers, list):
        return
    faults = []
    for index, entry in enumerate(teachers):
        if not isinstance(entry, str):
            continue
        place = ("teachers", index)
        try:
            card = _card_document(entry, path)
        except RecipeError as error:
            faults.append(Fault(place, str(error).replace("\n", "\n  "), document.position(place)))
            continue
        teachers[index] = card.data
        document.positions.update({(*place, *inner): where for inner, where in card.positions.items()})
    if faults:
        raise refusal(document.source, faults)


def _card_document(name_or_path: str, beside: Path | None) -> Document:
    name, path = locate(name_or_path, TEACHERS, beside)
    document = read_file(path)
    if isinstance(document.data, dict) and "name" not in document.data:
        document.data = {"name": name, **document.data}
        document.positions[("name",)] = Position(document.source)
    return document
