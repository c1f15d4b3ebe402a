"""Findings as plain, aligned text."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from structkd.bench.findings import Cell, Findings, machine
from structkd.bench.problems import TASK

_SCALED = {
    "length": ", over the length T",
    "tags": ", over the number of tags C",
    "batch": ", over the number of sentences B",
    "threads": ", over threads",
}
_Entry = Callable[[Cell], str]


def render(found: Findings) -> str:
    """All tables, and above them what was left out."""
    facts = machine(found.plan.device)
    where = facts["processor"] if facts["device"] == "cpu" else f"{facts['device']}, {facts['processor']}"
    clock = "CPU time of one thread" if facts["device"] == "cpu" else "wall time until the GPU is done"
    parts = [
        f"structkd {facts['structkd']}, torch {facts['torch']}, Python {facts['python']}\n"
        f"{where}, {facts['cores']} cores to use, load {facts['load']}\n"
        f"Median milliseconds of a call ({clock}); x: how many times as fast as the baseline.\n"
        "(B,T,C): sentences, steps of the longest one, tags; lengths from T/2 to T; float32 in and out."
    ]
    missing = {**{name: f"refused: {why}" for name, why in found.refused.items()}, **found.left_out}
    if missing:
        parts.append("\n".join(f"left out: {name}: {why}" for name, why in missing.items()))
    for table in ("main", *_SCALED):
        for task in found.plan.tasks:
            cells = [cell for cell in found.cells if (cell.table, cell.task) == (table, task)]
            if cells:
                parts += _tables(found, table, cells)
    failed = [cell for cell in found.cells if cell.state == "failed"]
    if failed:
        parts.append("\n".join(f"failed: {c.contestant}: {c.task} at {c.shape}: {c.note}" for c in failed))
    return "\n\n".join(parts)


def _tables(found: Findings, table: str, cells: list[Cell]) -> list[str]:
    """The tables of one task."""
    task = TASK[cells[0].task]
    title = task.title + _SCALED.get(table, "")
    unit = "wall ms" if cells[0].clock == "wall" else "ms"
    against = "itself with one thread" if table == "threads" else task.baseline

    def time(cell: Cell) -> str:
        return {
            "over": f"> {found.plan.limit:g} s",
            "failed": "failed",
            "skipped": "no time",
            "none": "-",
        }.get(cell.state) or _digits(cell.milliseconds)

    def share(cell: Cell) -> str:
        bandwidth = _bandwidth(cell)
        return _digits(bandwidth and found.copy_bandwidth and 100 * bandwidth / found.copy_bandwidth)

    shown = [f"{title}: {unit}; x against {against}\n" + _grid(found, cells, time, _ratio)]
    if any(cell.kernel_milliseconds is not None for cell in cells):
        for what, left, right in (
            ("ms of kernels by the profiler; MiB at the peak", _kernel, _memory),
            ("GB/s of the bytes that must move; % of what a large copy moves", _giga, share),
        ):
            shown.append(f"{title}: {what}\n" + _grid(found, cells, left, right))
    return shown


def _grid(found: Findings, cells: list[Cell], left: _Entry, right: _Entry) -> str:
    """A row for each shape, two columns for each contestant that answers."""
    names = [n for n in found.contestants if any(c.contestant == n and c.state != "none" for c in cells)]
    threads = cells[0].table == "threads"
    rows: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault(f"{cell.shape} {cell.threads}" if threads else str(cell.shape), {})[cell.contestant] = cell
    lines = [["(B,T,C) threads" if threads else "(B,T,C)", *(entry for name in names for entry in (name, ""))]]
    lines += [
        [label, *(entry for name in names for entry in (left(row[name]), right(row[name])))]
        for label, row in rows.items()
    ]
    return "\n".join(_aligned(lines))


def _aligned(lines: list[list[str]]) -> Iterable[str]:
    """Entries under the names that stand above every two columns."""
    lefts = [max(len(row[i]) for row in lines[1:]) for i in range(1, len(lines[0]), 2)]
    rights = [max(len(row[i]) for row in lines[1:]) for i in range(2, len(lines[0]), 2)]
    widths = [max(len(name), a + 1 + b) for name, a, b in zip(lines[0][1::2], lefts, rights, strict=True)]
    first = max(len(row[0]) for row in lines)
    for row in lines:
        pairs = zip(row[1::2], row[2::2], rights, widths, strict=True)
        entries = [
            (name.rjust(width) if row is lines[0] else f"{name} {second.rjust(right)}".rjust(width))
            for name, second, right, width in pairs
        ]
        yield "   ".join((row[0].ljust(first), *entries)).rstrip()


def _digits(number: float | None) -> str:
    """Three significant digits, without an exponent."""
    if number is None:
        return "-"
    places = 0 if number >= 100 else 1 if number >= 10 else 2 if number >= 1 else 3
    return f"{number:.{places}f}"


def _ratio(cell: Cell) -> str:
    if cell.ratio is None:
        return ""
    return f"{'>' if cell.ratio_is_bound else ''}{_digits(cell.ratio)}x"


def _kernel(cell: Cell) -> str:
    return _digits(cell.kernel_milliseconds)


def _memory(cell: Cell) -> str:
    return _digits(None if cell.memory_bytes is None else cell.memory_bytes / 2**20)


def _bandwidth(cell: Cell) -> float | None:
    if cell.least_bytes is None or not cell.kernel_milliseconds:
        return None
    return cell.least_bytes / (cell.kernel_milliseconds / 1e3)


def _giga(cell: Cell) -> str:
    bandwidth = _bandwidth(cell)
    return _digits(None if bandwidth is None else bandwidth / 1e9)
