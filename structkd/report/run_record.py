"""What a run directory holds for its report, and what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from structkd.errors import IntegrityError, UsageError
from structkd.evaluation import ModelCounts, ScoreRow, load_model_counts, model_counts_path
from structkd.storage import read_json


@dataclass(frozen=True)
class Point:
    """One entry of a training history.

    Attributes:
        step: optimiser steps so far.
        loss: mean training loss since the entry before, nats a sentence; None where it was not logged.
        dev: score on the dev set, percent; None where it was not measured.
    """

    step: float
    loss: float | None
    dev: float | None


@dataclass(frozen=True)
class RunRecord:
    """The files of one run.

    Attributes:
        name: of the recipe, or of the folder.
        description: of the recipe; may be empty.
        rows: scores.json.
        models: counts of the evaluated models that are there.
        recipe: text of recipe.yaml; empty where it is missing.
        environment: flattened environment.json: (name, value).
        histories: model -> training history.
        missing: what the report would need and the folder does not hold, in words.
    """

    name: str
    description: str
    rows: tuple[ScoreRow, ...]
    models: tuple[ModelCounts, ...]
    recipe: str
    environment: tuple[tuple[str, str], ...]
    histories: Mapping[str, tuple[Point, ...]]
    missing: tuple[str, ...]


def read_run(directory: Path) -> RunRecord:
    """Read a run directory.

    Missing files are named in the record; damaged ones are errors.

    Raises:
        UsageError: there is no such folder.
        IntegrityError: a file is damaged; the message names it.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is no run directory: expected the folder that `structkd run` wrote")
    missing: list[str] = []
    rows = _rows(directory / "scores.json", missing)
    names = list(dict.fromkeys(row.model for row in rows))
    text, recipe = _recipe(directory / "recipe.yaml", missing)
    missing += _planned_but_absent(recipe, rows)
    models = []
    for name in names:
        path = model_counts_path(directory, name)
        if path.exists():
            models.append(load_model_counts(path))
        else:
            missing.append(f"evaluation/{path.name}: without it, differences that involve {name} have no interval")
    histories = {}
    for name in names:
        path = directory / name / "history.json"
        if path.exists():
            histories[name] = _history(path)
        elif name.startswith("models/"):
            missing.append(f"{name}/history.json: no learning curve of this model")
    environment: tuple[tuple[str, str], ...] = ()
    if (directory / "environment.json").exists():
        environment = tuple(_flat(read_json(directory / "environment.json")))
    else:
        missing.append("environment.json: machine and versions are unknown")
    return RunRecord(
        name=str(recipe.get("name") or directory.resolve().name),
        description=str(recipe.get("description") or ""),
        rows=tuple(rows),
        models=tuple(models),
        recipe=text,
        environment=environment,
        histories=histories,
        missing=tuple(missing),
    )


def _rows(path: Path, missing: list[str]) -> list[ScoreRow]:
    if not path.exists():
        missing.append("scores.json: nothing was evaluated yet")
        return []
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise IntegrityError(f"{path}: expected a list of rows; delete it and run `structkd evaluate` again")
    try:
        return [ScoreRow.from_dict(row) for row in value]
    except IntegrityError as fault:
        raise IntegrityError(f"{path}: {fault}") from fault


def _recipe(path: Path, missing: list[str]) -> tuple[str, dict[str, Any]]:
    if not path.exists():
        missing.append("recipe.yaml: the settings of this run are unknown")
        return "", {}
    text = path.read_text(encoding="utf-8")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise IntegrityError(f"{path}: damaged, not valid YAML ({fault}); run `structkd run` again") from fault
    return text, value if isinstance(value, dict) else {}


def _planned_but_absent(recipe: Mapping[str, Any], rows: Sequence[ScoreRow]) -> list[str]:
    """Controls, objectives and seeds that the recipe asks for and no score mentions."""
    if not rows:
        return []
    trained = [row for row in rows if row.role not in ("teacher", "ensemble")]
    by_method: dict[str, set[int | None]] = {}
    for row in trained:
        by_method.setdefault(row.method, set()).add(row.seed)
    objective = recipe.get("objective", [])
    objectives = objective if isinstance(objective, list) else [objective]
    planned = [name for name in [*(recipe.get("controls") or []), *objectives] if isinstance(name, str)]
    if (recipe.get("corpus") or {}).get("untagged") == "none":
        planned = [name for name in planned if name != "pseudo-labels"]  # it has nothing to label
    absent = [f"{name}: in the recipe, but not among the scores" for name in planned if name not in by_method]
    seeds = [seed for seed in recipe.get("seeds") or [] if isinstance(seed, int)]
    for method, scored in by_method.items():
        lacking = [str(seed) for seed in seeds if seed not in scored]
        if lacking:
            absent.append(f"{method}: no scores of seed {', '.join(lacking)}")
    return absent


def _history(path: Path) -> tuple[Point, ...]:
    try:
        return tuple(Point(float(e["step"]), _number(e.get("loss")), _number(e.get("dev"))) for e in read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise IntegrityError(f"{path}: not a training history ({fault!r}); delete it and run again") from fault


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in _flat(part, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        return [(name, ", ".join(str(part) for part in value))]
    return [(name, "" if value is None else str(value))]
