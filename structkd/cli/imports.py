"""`structkd extract --import`: annotations of another maker become a knowledge store; not a verb itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from structkd.recipe import Recipe

Import = Annotated[
    Path | None,
    typer.Option(
        "--import",
        metavar="FILE",
        help="Check JSONL annotations of another maker against the recipe, and write their store; nothing is trained.",
    ),
]
ImportLanguage = Annotated[
    str | None, typer.Option("--language", help="Of the annotations, where neither file nor recipe says it.")
]


def run_import(recipe: Recipe, file: Path, runs: Path, language: str | None, as_json: bool) -> None:
    """Import a file and print the teacher card that uses it."""
    from structkd.stages.imports import import_annotations

    found = import_annotations(recipe, file, runs, language=language)
    if as_json:
        print(json.dumps({"store": str(found.store), "card": found.card, "sentences": found.sentences}, indent=2))
        return
    kinds = ", ".join(f"{number} with {kind}" for kind, number in found.sentences.items() if kind != "stored")
    print(f"# {found.store}: {found.sentences['stored']} sentences; annotated: {kinds}")
    print("# A recipe names it as one of its teachers:")
    print(f"- {json.dumps(found.card, ensure_ascii=False)}")
