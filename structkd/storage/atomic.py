"""Files and folders that are there whole or not at all, whenever the process is cut off."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from structkd.errors import IntegrityError

# .<name>.<kind>.<host>.<pid>.<random>: host and pid tell whether the writer still lives.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<kind>partial|replaced)\.(?P<host>[^.]+)\.(?P<pid>\d+)\.[0-9a-f]{8}")
_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Folders above it are created. Text is written as UTF-8 with the line ends it has.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    temporary = _sibling(path, "partial")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. NaN and infinities are refused: JSON has no word for them."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        IntegrityError: the file is missing or is not JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(f"{path}: there is no such file, expected JSON; run the stage that writes it") from error
    except ValueError as error:  # undecodable bytes and JSON faults are both ValueErrors
        raise IntegrityError(f"{path}: damaged, not valid JSON ({error}); delete it and run the stage again") from error


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Fill a folder under a temporary name; it takes its place at `path` only when the block ends without an error.

    An older folder at `path` is replaced. After an error, Ctrl-C included, nothing of the new one remains.

    Yields:
        The temporary folder, a sibling of `path` (the same file system: the final rename copies nothing).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    temporary = _sibling(path, "partial")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync_file(file)
        _put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_directory(path.parent)


def is_temporary(name: str) -> bool:
    """Whether a file or folder name is one of those this module gives to unfinished work."""
    return _TEMPORARY.fullmatch(name) is not None


def _put_in_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        os.rename(temporary, path)
        return
    replaced = _sibling(path, "replaced")  # os.replace refuses a folder that is not empty
    os.rename(path, replaced)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(replaced, path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _sibling(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{kind}.{_HOST}.{os.getpid()}.{secrets.token_hex(4)}")


def _remove_stale(path: Path) -> None:
    """Remove what dead processes of this machine left beside `path`; put back a folder they had only moved away."""
    for entry in path.parent.iterdir():
        match = _TEMPORARY.fullmatch(entry.name)
        if match is None or match["name"] != path.name or match["host"] != _HOST or _is_alive(int(match["pid"])):
            continue
        if match["kind"] == "replaced" and not path.exists():
            os.rename(entry, path)
        elif entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and another user's
        return True
    return True


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
