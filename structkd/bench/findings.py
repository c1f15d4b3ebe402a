"""What to measure, and what came out: plain data, as it is printed with --json."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import structkd
from structkd.bench.clocks import Timing
from structkd.bench.problems import TASK, Shape

SHAPES = (Shape(32, 32, 9), Shape(32, 64, 17), Shape(64, 128, 9), Shape(32, 128, 33), Shape(16, 256, 64))
CUDA_SHAPES = (Shape(512, 128, 17), Shape(2048, 64, 9), Shape(8, 4096, 9), Shape(1, 512, 17))


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        shapes: Shapes of the main tables.
        tasks: Names of tasks.
        backends: Names of our backends; None means all that can run.
        device: Where the tensors are.
        limit: Seconds; a call that takes longer is not measured.
        budget: Seconds for a contestant in a cell.
        scaling: Whether to add the tables over T, C, B and threads.
        minutes: On the wall; cells that have not begun after so many are skipped.
    """

    shapes: tuple[Shape, ...] = SHAPES
    tasks: tuple[str, ...] = tuple(TASK)
    backends: tuple[str, ...] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    limit: float = 20.0
    budget: float = 0.3
    scaling: bool = True
    minutes: float = 14.0


@dataclass(frozen=True)
class Cell:
    """One number, or why there is none.

    Attributes:
        table: main, length, tags, batch or threads.
        state: measured; over (longer than the limit); failed; none (no answer to this task, or a wrong one); skipped
            (no time left).
        clock: cpu, wall, or device (wall, until the GPU is done).
        milliseconds: Median of a call.
        low, high: Quartiles.
        baseline: Whose time is divided by this one.
        ratio: Times faster than the baseline.
        ratio_is_bound: The baseline is over the limit, so the ratio is larger than the number.
        note: What is known where nothing was measured.
        kernel_milliseconds, memory_bytes, least_bytes: On CUDA only; see ``cuda.py``.
    """

    table: str
    task: str
    shape: Shape
    threads: int
    contestant: str
    state: str
    clock: str
    milliseconds: float | None = None
    low: float | None = None
    high: float | None = None
    calls: int = 0
    baseline: str | None = None
    ratio: float | None = None
    ratio_is_bound: bool = False
    note: str | None = None
    kernel_milliseconds: float | None = None
    memory_bytes: int | None = None
    least_bytes: int | None = None


@dataclass
class Findings:
    """Everything that a run found out.

    Attributes:
        plan: What was to be measured.
        contestants: Names in the order of the columns.
        cells: All numbers.
        left_out: Reasons by "contestant", or by "contestant: task".
        refused: Reasons by backend; it disagrees with the reference, and none of its times is here.
        copy_bandwidth: Bytes a second that a large copy reads and writes; on CUDA only.
        began: When, on the monotonic clock.
    """

    plan: Plan
    contestants: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    copy_bandwidth: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def late(self) -> bool:
        """Whether the time of the plan has run out."""
        return time.monotonic() - self.began > 60 * self.plan.minutes

    def over(self, contestant: str, task: str | None, shape: Shape) -> str | None:
        """Why a contestant is known to be over the limit: it was with less to do."""
        while task is not None:
            for cell in self.cells:
                known = cell.contestant == contestant and cell.task == task and cell.state == "over"
                if known and cell.shape.within(shape):
                    return f"{task} at {cell.shape} already takes longer"
            task = TASK[task].contains
        return None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": 1,
            "machine": machine(self.plan.device),
            "plan": {
                "shapes": [list(shape) for shape in self.plan.shapes],
                "tasks": list(self.plan.tasks),
                "limit_seconds": self.plan.limit,
                "budget_seconds": self.plan.budget,
                "scaling": self.plan.scaling,
                "minutes": self.plan.minutes,
            },
            "contestants": self.contestants,
            "left_out": self.left_out,
            "refused": self.refused,
            "copy_bytes_per_second": self.copy_bandwidth,
            "cells": [{**asdict(cell), "shape": list(cell.shape)} for cell in self.cells],
        }


def numbers(timing: Timing, base: Timing | None, limit: float) -> dict[str, Any]:
    """The fields of a cell that follow from its timing and from that of its baseline."""
    if timing.failure is not None:
        return {"state": "failed", "note": timing.failure}
    median = timing.median
    if median is None:
        return {"state": "over", "note": timing.over}
    low, _, high = statistics.quantiles(timing.seconds, n=4) if len(timing.seconds) > 1 else (median,) * 3
    found = {"milliseconds": median * 1e3, "low": low * 1e3, "high": high * 1e3, "calls": len(timing.seconds)}
    if base is not None and base.median is not None:
        found["ratio"] = base.median / median
    elif base is not None and base.over is not None:
        found |= {"ratio": limit / median, "ratio_is_bound": True}
    return {"state": "measured", **found}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": cores(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "structkd": structkd.__version__,
    }
