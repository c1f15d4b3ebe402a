"""The four sub-commands of `recipes` and `teachers`; not a verb itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from structkd.cli.options import Debug, Json, Overrides
from structkd.errors import RecipeError

if TYPE_CHECKING:
    from structkd.recipe import Entry


@dataclass(frozen=True)
class Collection:
    """What the sub-commands need of a collection; the functions import what they need when they are called."""

    word: str
    entries: Callable[[], list[Entry]]
    resolve: Callable[[str, Sequence[str]], str]
    schema: Callable[[], dict[str, Any]]


def collection_app(collection: Collection) -> typer.Typer:
    """`list`, `show`, `check` and `schema` for a collection."""
    application = typer.Typer(help=f"List, show and check {collection.word}s.", no_args_is_help=True)

    @application.command("list", help=f"List the {collection.word}s by name.")
    def list_(as_json: Json = False, debug: Debug = False) -> None:
        entries = collection.entries()
        if as_json:
            print(json.dumps([{**entry._asdict(), "path": str(entry.path)} for entry in entries], indent=2))
            return
        width = max((len(entry.name) for entry in entries), default=0)
        for entry in entries:
            print(f"{entry.name:<{width}}  {entry.description}")

    @application.command("show", help=f"Print a {collection.word} as it is used, every value written out.")
    def show(
        name: Annotated[str, typer.Argument(help="Name or path.")], overrides: Overrides, debug: Debug = False
    ) -> None:
        print(collection.resolve(name, overrides), end="")

    @application.command("check", help=f"Check {collection.word}s; without a name, all of them.")
    def check(
        overrides: Overrides,
        names: Annotated[list[str] | None, typer.Argument(help="Names or paths.")] = None,
        debug: Debug = False,
    ) -> None:
        faulty = 0
        for name in names or [entry.name for entry in collection.entries()]:
            try:
                collection.resolve(name, overrides)
            except RecipeError as error:
                faulty += 1
                print(error, file=sys.stderr)
            else:
                print(f"ok  {name}")
        if faulty:
            raise typer.Exit(RecipeError.exit_code)

    @application.command("schema", help=f"Print the JSON schema of a {collection.word}.")
    def schema(debug: Debug = False) -> None:
        print(json.dumps(collection.schema(), indent=2))

    return application
