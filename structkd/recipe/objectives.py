"""Objectives as recipes write them: a name, or weighted names in one line, `0.5*posterior + 0.5*topk_weighted`."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NamedTuple, get_args

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from structkd.recipe.faults import nearest

ObjectiveName = Literal[
    "nll",
    "token",
    "emission",
    "emission_mse",
    "substructure_mse",
    "topk",
    "topk_weighted",
    "posterior",
    "posterior+topk_weighted",
    "structural",
]
OBJECTIVE_NAMES: tuple[str, ...] = get_args(ObjectiveName)

#: Those that compare finished posteriors of words, which a local temperature can soften.
LOCAL = ("token", "emission", "posterior")

_TERM = re.compile(r"\s*(?P<weight>\d+(?:\.\d*)?|\.\d+)\s*\*\s*(?P<name>[A-Za-z_]+)\s*")
_EXAMPLE = "0.5*posterior + 0.5*topk_weighted"


class WeightedName(NamedTuple):
    """One term of an objective."""

    weight: float
    name: str


def parse_objective(text: str) -> tuple[WeightedName, ...]:
    """The weighted names of an objective.

    A sum says its weights: `posterior+topk_weighted` alone is a name, the paper's average of the two.

    Raises:
        ValueError: the text is neither a name nor a sum of weighted names.
    """
    if text in OBJECTIVE_NAMES:
        return (WeightedName(1.0, text),)
    if "*" not in text:
        if "+" in text:
            raise ValueError(f"a sum says its weights, as in {_EXAMPLE}")
        raise ValueError(
            f"expected one of {', '.join(OBJECTIVE_NAMES)}, or a sum such as {_EXAMPLE}{nearest(text, OBJECTIVE_NAMES)}"
        )
    terms = tuple(map(_term, text.split("+")))
    names = [term.name for term in terms]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} stands twice; add up its weights")
    return terms


def _term(text: str) -> WeightedName:
    match = _TERM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text.strip()!r} is no weight*name; expected a sum such as {_EXAMPLE}")
    weight, name = float(match["weight"]), match["name"]
    known = [name for name in OBJECTIVE_NAMES if name != "nll" and "+" not in name]
    if name == "nll":
        raise ValueError("gold tags have their weight in `annealing`; nll stands alone")
    if name not in known:
        raise ValueError(f"{name!r} is no objective, expected one of {', '.join(known)}{nearest(name, known)}")
    if not (weight > 0 and math.isfinite(weight)):
        raise ValueError(f"the weight of {name} is {match['weight']}, expected more than 0")
    return WeightedName(weight, name)


def spell(text: str) -> str:
    """The one spelling of an objective, `0.5*posterior+0.5*topk_weighted`, that reports and folders go by."""
    terms = parse_objective(text)
    if len(terms) == 1 and terms[0].weight == 1:
        return terms[0].name
    # Whole numbers without a point, all others with every digit.
    return "+".join(f"{repr(term.weight).removesuffix('.0')}*{term.name}" for term in terms)


class DescribeObjective:
    """The JSON schema of an objective: a name, or text of the shape of a sum."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        weighted: dict[str, Any] = {
            "type": "string",
            "pattern": r"^\s*[0-9.]+\s*\*\s*\w+\s*(\+\s*[0-9.]+\s*\*\s*\w+\s*)*$",
            "examples": [_EXAMPLE],
        }
        return {"anyOf": [{"type": "string", "enum": list(OBJECTIVE_NAMES)}, weighted]}
