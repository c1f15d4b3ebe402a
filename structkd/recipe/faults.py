"""Faults of a file, collected so that one message names them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from structkd.errors import RecipeError

Path = tuple[str | int, ...]


class Position(NamedTuple):
    """Where a value was written: a file, or the option `--set`."""

    source: str
    line: int | None = None


class Fault(NamedTuple):
    """One fault: the dotted path of the value, what is wrong with it, and where it stands."""

    path: Path
    message: str
    position: Position | None = None

    def describe(self, source: str) -> str:
        """The fault in one line; its file is named only where it is not `source`."""
        where = []
        if self.position is not None:
            if self.position.source != source:
                where.append(self.position.source)
            if self.position.line is not None:
                where.append(f"line {self.position.line}")
        if self.path:
            where.append(dotted(self.path))
        return f"{', '.join(where)}: {self.message}" if where else self.message


def dotted(path: Path) -> str:
    """`("teachers", 0, "training")` as `teachers.0.training`, the spelling of `--set`."""
    return ".".join(str(part) for part in path)


def refusal(source: str, faults: Sequence[Fault]) -> RecipeError:
    """The error that names every fault of `source`."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return RecipeError(f"{source}: {count}" + "".join(f"\n  {fault.describe(source)}" for fault in faults))


def nearest(name: object, known: Iterable[str]) -> str:
    """`; did you mean 'epochs'?` for the known name most like `name`, else nothing."""
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
