"""The application: which verbs there are, and what an error looks like to the shell."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import structkd
from structkd.cli.options import Debug
from structkd.errors import StructKDError

# A verb is a module of its name in this folder. It holds `command`, a function with a Typer signature, or `app`, a
# Typer of its own with sub-commands. Importing it must be light: torch and pydantic are imported inside functions.
VERBS = (
    "run",
    "teach",
    "extract",
    "distill",
    "evaluate",
    "predict",
    "report",
    "sweep",
    "recipes",
    "teachers",
    "bench",
    "doctor",
)

INTERRUPTED = 130


def build() -> typer.Typer:
    """The application with all verbs."""
    application = typer.Typer(
        name="structkd",
        help="Distil monolingual sequence taggers into one multilingual tagger.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    application.callback()(_root)
    for verb in VERBS:
        module = importlib.import_module(f"structkd.cli.{verb}")
        if hasattr(module, "app"):
            application.add_typer(module.app, name=verb)
        else:
            application.command(verb)(module.command)
    return application


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those after the program's name; None: those of the process.

    Returns:
        The exit status: 0 done, 1 unexpected, 2 usage or recipe, 3 bad data, 4 integrity, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        build()(args=words, prog_name="structkd")
    except SystemExit as end:  # how Typer ends, after help, a usage error or Ctrl-C too
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status == INTERRUPTED:
            print("structkd: interrupted; the same command goes on from here", file=sys.stderr)
        return status
    except StructKDError as error:
        return _report(str(error), error.exit_code, debug)
    except Exception as error:
        hint = "" if debug else "\nrun it again with --debug for the traceback"
        return _report(f"unexpected {type(error).__name__}: {error}{hint}", 1, debug)
    return 0


def _report(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"structkd: {message}", file=sys.stderr)
    return status


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"structkd {structkd.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Distil monolingual sequence taggers into one multilingual tagger."""
