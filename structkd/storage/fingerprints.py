"""Fingerprints: short names for "the same inputs", by which a stage knows that its output is up to date."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

HEX_DIGITS = 16


def fingerprint(*parts: Any) -> str:
    """Name a list of values by what they hold.

    The order of dictionary keys and the difference between tuples and lists do not matter; the order of parts does.

    Args:
        parts: None, booleans, numbers, strings, lists, tuples, sets, dictionaries with string keys and dataclasses,
            nested as you like. A `Path` stands for the content of that file, not for its name.

    Returns:
        16 hexadecimal digits of the sha256 of the parts' canonical JSON.

    Raises:
        TypeError: a part is of another type.
    """
    text = json.dumps([_canonical(part) for part in parts], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:HEX_DIGITS]


def file_sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return {"sha256": file_sha256(value)}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                # JSON would write 1 and "1" alike, and two different dictionaries would share a fingerprint.
                raise TypeError(f"fingerprint: dictionary key {key!r} is {type(key).__name__}, expected str")
        return {key: _canonical(item) for key, item in value.items()}
    raise TypeError(
        f"fingerprint: got a {type(value).__name__}, expected None, bool, int, float, str, Path, list, tuple, set, "
        "dict or a dataclass; turn other objects into one of these first"
    )
