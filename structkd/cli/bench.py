"""`structkd bench`: measurements, each a sub-command."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from structkd.cli.options import Backend, Debug, Device, Json
from structkd.errors import StructKDError, UsageError

app = typer.Typer(help="Measure what structkd claims.", no_args_is_help=True)

_QUICK_SHAPES = ("32,32,9", "32,64,17")


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


@app.command("kernels")
def kernels(
    shapes: Annotated[
        list[str] | None, typer.Option("--shapes", metavar="B,T,C", help="Only this shape. Repeat it for more.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", help="Only these of nll,marginals,backward,viterbi,5-best,10-best."),
    ] = None,
    peers: Annotated[
        str | None, typer.Option("--peers", help="Only these of pytorch-crf,torch-struct,supar; or none.")
    ] = None,
    backends: Annotated[
        str | None, typer.Option("--backends", help="Only these of our backends; left out, all that run.")
    ] = None,
    device: Device = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Two shapes, no scaling tables, and nothing that takes over a second.")
    ] = False,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.0, help="Begin no cell after so many; a busy machine needs more.")
    ] = 14.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Time our CRF kernels against pytorch-crf, torch-struct and supar, after checking everybody's answers.

    The peers come with `pip install 'structkd[bench]'`; one that is not there is named and left out. With shapes of
    your own there are no scaling tables. A backend that disagrees with the reference is refused: exit status 1.
    """
    import torch

    from structkd.bench.findings import CUDA_SHAPES, SHAPES, Plan
    from structkd.bench.kernels import run
    from structkd.bench.peers import all_peers
    from structkd.bench.problems import TASK, Shape
    from structkd.bench.tables import render

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: there is no CUDA device; use --device cpu")
    by_name = {peer.name: peer for peer in all_peers()}
    chosen = _choose("--peers", peers, tuple(by_name), none=True)
    whole = SHAPES + (CUDA_SHAPES if device.startswith("cuda") else ())
    given = shapes or (_QUICK_SHAPES if quick else None)
    plan = Plan(
        shapes=whole if given is None else tuple(map(Shape.parse, given)),
        tasks=_choose("--tasks", tasks, tuple(TASK)),
        backends=None if backends is None else tuple(backends.split(",")),
        device=torch.device(device),
        limit=1.0 if quick else 20.0,
        budget=0.1 if quick else 0.3,
        scaling=given is None,
        minutes=minutes,
    )
    found = run(plan, [by_name[name] for name in chosen], lambda message: print(message, file=sys.stderr, flush=True))
    print(json.dumps(found.as_json(), indent=2) if as_json else render(found))
    if found.refused:
        told = "; ".join(f"{name} {why}" for name, why in found.refused.items())
        raise StructKDError(f"no times are shown for a backend that is wrong: {told}")


def _choose(option: str, given: str | None, known: tuple[str, ...], *, none: bool = False) -> tuple[str, ...]:
    """Names separated by commas, in the order of the known ones."""
    if given is None:
        return known
    if none and given == "none":
        return ()
    wanted = {name.strip() for name in given.split(",")}
    unknown = sorted(wanted - set(known))
    if unknown:
        raise UsageError(f"{option}: {', '.join(unknown)} not known; known are {', '.join(known)}")
    return tuple(name for name in known if name in wanted)
