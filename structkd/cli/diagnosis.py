"""What `structkd doctor` looks at; not a verb itself."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.version import Version

State = Literal["ok", "warning", "problem"]

# From, up to and without: the versions that the tests run with.
SUPPORTED = {"torch": ("2.11", "2.14"), "transformers": ("5.17", "6")}
OTHERS = ("accelerate", "datasets", "numpy", "pyarrow", "pydantic", "PyYAML", "safetensors", "seqeval", "typer")
LOW_MEMORY_GIB = 2.0


class Finding(NamedTuple):
    """One line of the report; `advice` says what to do unless the state is ok."""

    name: str
    state: State
    value: str
    advice: str = ""


def diagnose() -> list[Finding]:
    """Look at Python, packages, cores, memory, CUDA, kernel backends and data."""
    return [_python(), *_packages(), *_machine(), *_kernels(), _data(), _collections()]


def _python() -> Finding:
    version = platform.python_version()
    if Version(version) < Version("3.10"):
        return Finding("python", "problem", version, "structkd needs Python 3.10 or later")
    return Finding("python", "ok", f"{version} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    for name, (low, high) in SUPPORTED.items():
        version = _version(name)
        if version is None:
            yield Finding(name, "problem", "not installed", f"pip install '{name}>={low},<{high}'")
        elif Version(low) <= Version(version) < Version(high):
            yield Finding(name, "ok", version)
        else:
            yield Finding(name, "warning", version, f"untested; the tests run with {name} >= {low}, < {high}")
    missing = [name for name in OTHERS if _version(name) is None]
    if missing:
        yield Finding("packages", "problem", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    else:
        yield Finding("packages", "ok", ", ".join(f"{name} {_version(name)}" for name in OTHERS))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = _available_gib()
    if memory is not None and memory < LOW_MEMORY_GIB:
        yield Finding("memory", "warning", f"{memory:.1f} GiB available", "close other programs, or use --jobs 1")
    elif memory is not None:
        yield Finding("memory", "ok", f"{memory:.1f} GiB available")
    if _version("torch") is None:
        yield Finding("cores", "ok", str(cores))
        return
    import torch

    threads = torch.get_num_threads()
    if threads > cores:
        advice = f"more threads than cores are many times slower: set OMP_NUM_THREADS={cores} or less"
        yield Finding("cores", "warning", f"{cores}, torch uses {threads} threads", advice)
    else:
        yield Finding("cores", "ok", f"{cores}, torch uses {threads} threads")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Finding("cuda", "ok", f"{torch.version.cuda}: {', '.join(names)}")
    elif shutil.which("nvidia-smi"):
        advice = "install the build of torch for the driver's CUDA version, see pytorch.org"
        yield Finding("cuda", "warning", "a driver is there, and torch cannot use it", advice)
    else:
        yield Finding("cuda", "ok", "none; training runs on the CPU")


def _available_gib() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return None


def _kernels() -> Iterator[Finding]:
    if _version("torch") is None:
        return
    from structkd.kernels import status

    for backend, state in status().items():
        name = f"backend {backend}"
        if state == "available":
            yield Finding(name, "ok", state)
        elif backend == "cpu" and _compiler() is not None:
            advice = (
                f"{_compiler()} is there: reinstall with `pip install -v --force-reinstall --no-deps` and read the log"
            )
            yield Finding(name, "warning", state, advice)
        elif backend == "cpu":
            yield Finding(
                name, "warning", state, "install a C compiler and reinstall structkd; `torch` answers until then"
            )
        else:
            yield Finding(name, "ok", f"not here: {state}")


def _compiler() -> str | None:
    return next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def _data() -> Finding:
    root = os.environ.get("STRUCTKD_DATA")
    if not root:
        return Finding("STRUCTKD_DATA", "ok", "not set; recipes that read files need it or --set corpus.root=FOLDER")
    if not Path(root).is_dir():
        return Finding(
            "STRUCTKD_DATA", "problem", f"{root} is no folder", "set it to the folder of the corpora, or unset it"
        )
    return Finding("STRUCTKD_DATA", "ok", root)


def _collections() -> Finding:
    if _version("pydantic") is None or _version("PyYAML") is None:
        return Finding("recipes", "warning", "not looked at", "install pydantic and PyYAML first")
    from structkd.recipe import list_recipes, list_teachers

    recipes, teachers = len(list_recipes()), len(list_teachers())
    if not recipes or not teachers:
        return Finding("recipes", "problem", "the collections are missing", "reinstall structkd")
    return Finding("recipes", "ok", f"{recipes} recipes, {teachers} teacher cards")
