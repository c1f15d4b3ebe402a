"""From plain values to a validated section, with every fault told in the words of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from structkd.recipe.faults import Fault, Path, nearest
from structkd.recipe.loading import Document

Section = TypeVar("Section", bound=BaseModel)

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string (quote it)",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def validate(model: type[Section], document: Document) -> tuple[Section | None, list[Fault]]:
    """Validate a document.

    Returns:
        The section and no faults, or None and all its faults.
    """
    try:
        # Through JSON, because there pydantic is strict about numbers and strings and still takes a list for a tuple.
        return model.model_validate_json(json.dumps(document.data), strict=True), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # One number may stand for several values, and is told once.
        faults = {_fault(model, document, details): None for details in errors if not _follows_from_another(details)}
        return None, sorted(faults, key=_order)


def _follows_from_another(details: ErrorDetails) -> bool:
    """A list is called too short also when its items are there and faulty; they have their own messages."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _order(fault: Fault) -> tuple[str, int]:
    return (fault.position.source, fault.position.line or 0) if fault.position else ("", 0)


def _fault(model: type[BaseModel], document: Document, details: ErrorDetails) -> Fault:
    path = _path_in(document.data, details["loc"])
    return Fault(path, _message(model, details, path), document.position(path))


def _path_in(data: Any, location: Path) -> Path:
    """The location without the names that pydantic adds for the branches of unions."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(data, dict) and (part in data or (last and data.get("type") != part)):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _message(model: type[BaseModel], details: ErrorDetails, path: Path) -> str:
    kind, got, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        known = sorted({name for section in _sections(model, path[:-1]) for name in section.model_fields})
        return f"unknown key{nearest(path[-1], known) or '; expected one of ' + ', '.join(known)}"
    if kind == "missing":
        descriptions = {
            section.model_fields[str(path[-1])].description
            for section in _sections(model, path[:-1])
            if path[-1] in section.model_fields
        }
        return f"missing: {' or '.join(sorted(filter(None, descriptions)))}"
    if kind == "union_tag_not_found":
        return "key 'type' is missing; expected type: recurrent or type: pretrained"
    if kind == "union_tag_invalid":
        choices = [word.strip().strip("'") for word in str(context["expected_tags"]).split(",")]
        return f"type is {context['tag']!r}, expected one of {', '.join(choices)}{nearest(context['tag'], choices)}"
    if kind == "literal_error":
        choices = [word.strip(" '") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        return f"got {_shown(got)}, expected one of {', '.join(choices)}{nearest(got, choices)}"
    if kind in _EXPECTED:
        return f"got {_shown(got)}, expected {_EXPECTED[kind]}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"got {_shown(got)}, expected {words} {context[key]}"
    if kind == "value_error":  # a validator of ours has said all
        return f"got {_shown(got)}: {context['error']}"
    if kind == "too_short":
        return f"got {_shown(got)}, expected at least {context['min_length']}"
    if kind == "string_pattern_mismatch":
        return f"got {_shown(got)}, expected letters and digits as in {_example(path)}"
    return f"got {_shown(got)}: {details['msg']}"


def _example(path: Path) -> str:
    return "en, pt-BR (a BCP-47 code)" if "language" in path or "untagged" in path else "ud/pos-small"


def _shown(value: Any) -> str:
    text = "a mapping" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sections(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The sections that may stand at `path`; several where the schema leaves a choice."""
    found = [model]
    for part in path:
        if isinstance(part, str):
            fields = [section.model_fields[part] for section in found if part in section.model_fields]
            found = [section for field in fields for section in _models_in(field.annotation)]
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
