"""Manifests: which files belong to a finished folder, their hashes, and the facts they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from structkd.errors import IntegrityError
from structkd.storage.atomic import is_temporary, read_json, write_json
from structkd.storage.fingerprints import file_sha256

MANIFEST = "manifest.json"
FORMAT = 1
LOCK_FILE = ".lock"


def seal(directory: str | Path, **facts: Any) -> None:
    """Write `manifest.json`: every file of the folder with its sha256 and size, and the facts given.

    Args:
        directory: the finished folder.
        facts: JSON values: fingerprints of the inputs, row counts, whatever a reader wants to check first.
    """
    directory = Path(directory)
    files = {
        path.relative_to(directory).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in _files(directory)
    }
    write_json(directory / MANIFEST, {"format": FORMAT, "facts": facts, "files": files})


def verify(directory: str | Path) -> dict[str, Any]:
    """Compare a folder with its manifest, hashes included.

    Returns:
        The facts.

    Raises:
        IntegrityError: the manifest is missing or damaged, or files are missing or changed; all of them are named.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    faults = []
    for name, entry in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            faults.append(f"{name}: missing")
        elif path.stat().st_size != entry["bytes"]:
            faults.append(f"{name}: {path.stat().st_size} bytes, expected {entry['bytes']}")
        elif file_sha256(path) != entry["sha256"]:
            faults.append(f"{name}: sha256 differs from the manifest")
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise IntegrityError(f"{directory}: differs from its manifest:{listed}\ndelete it and run the stage again")
    facts: dict[str, Any] = manifest["facts"]
    return facts


def is_sealed(directory: str | Path, **expected_facts: Any) -> bool:
    """Whether the folder is finished and was made from these facts; cheap: sizes are checked, hashes are not.

    Facts of the manifest that are not asked for are not compared.
    """
    directory = Path(directory)
    try:
        manifest = _read_manifest(directory)
    except IntegrityError:
        return False
    for name, value in expected_facts.items():
        if name not in manifest["facts"] or manifest["facts"][name] != json.loads(json.dumps(value)):
            return False
    return all(
        (directory / name).is_file() and (directory / name).stat().st_size == entry["bytes"]
        for name, entry in manifest["files"].items()
    )


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise IntegrityError(f"{path}: not a manifest of format {FORMAT}; written by another version of structkd?")
    files, facts = manifest.get("files"), manifest.get("facts")
    if (
        not isinstance(facts, dict)
        or not isinstance(files, dict)
        or not all(isinstance(entry, dict) and {"sha256", "bytes"} <= set(entry) for entry in files.values())
    ):
        raise IntegrityError(
            f"{path}: damaged, expected 'facts' and 'files'; delete the folder and run the stage again"
        )
    return manifest


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        own = path.name in (MANIFEST, LOCK_FILE) and path.parent == directory
        if path.is_file() and not own and not is_temporary(path.name):
            yield path
