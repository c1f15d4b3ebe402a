"""`structkd bench`: measurements, each a sub-command."""

from __future__ import annotations

from typing import Annotated

import typer

from structkd.cli.options import Backend, Debug, Json

app = typer.Typer(help="Measure what structkd claims.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    """Measure what structkd claims."""


@app.command("objectives")
def objectives(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of every objective.")] = 100,
    sentences: Annotated[int, typer.Option("--sentences", min=1, help="Of the synthetic corpus.")] = 640,
    backend: Backend = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Time every objective beside nll: the loss alone, an epoch of training, and the extraction of knowledge."""
    from structkd.cli.bench_objectives import measure, render

    found = measure(rounds, sentences, backend)
    print(found.as_json() if as_json else render(found))
