"""The run directory: where every stage reads and writes (`runs/<name>/`)."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from structkd import __version__
from structkd.evaluation import model_counts_path
from structkd.storage import write_json


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside a run directory."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe of the last call."""
        return self.path / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Versions and machine of the last call."""
        return self.path / "environment.json"

    @property
    def scores(self) -> Path:
        """One row per number."""
        return self.path / "scores.json"

    def model(self, model: str) -> Path:
        """Folder of a model: `teachers/<card>` or `models/<method>/seed-<n>`."""
        return self.path / model

    def knowledge(self, key: str) -> Path:
        """Folder of a knowledge store."""
        return self.path / "knowledge" / key

    def checkpoints(self, key: str) -> Path:
        """Folder of the checkpoints of a training run that is not finished."""
        return self.path / "checkpoints" / key

    def counts(self, model: str) -> Path:
        """Per-sentence counts of an evaluated model."""
        return model_counts_path(self.path, model)


def write_environment(run: RunDirectory) -> None:
    """Write `environment.json`: what the numbers of this run were made with."""
    packages = ("torch", "transformers", "accelerate", "datasets", "seqeval", "numpy", "pyarrow")
    write_json(
        run.environment,
        {
            "structkd": __version__,
            "python": platform.python_version(),
            "packages": {name: found for name in packages if (found := _version(name))},
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "gpus": _gpus(),
            "command": ["structkd", *sys.argv[1:]],
        },
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpus() -> list[Any]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
