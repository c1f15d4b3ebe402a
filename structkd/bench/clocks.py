"""How time is taken: which clock, how often, and what is too slow to be measured at all."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from structkd.bench.contestants import Contestant, Ours
from structkd.bench.problems import Problem, Task

#: A clock runs a call and says how many seconds it took.
Clock = Callable[[Callable[[], Any]], float]

#: Rungs of smaller problems that a peer climbs before the whole one: a share of the sentences and of the steps, and by
#: how much the time expected from it must pass the limit. The smaller the problem, the larger the part of its time
#: that does not grow with it, and the more generous the verdict.
RUNGS = ((32, 10.0), (8, 3.0), (4, 1.25), (2, 1.0))

#: Turns that everybody takes in an interleaved measurement.
TURNS = 5
MOST_CALLS = 200


def cpu_clock(call: Callable[[], Any]) -> float:
    """Seconds of CPU time of this process, of all its threads: other processes do not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def wall_clock(call: Callable[[], Any]) -> float:
    """Seconds on the clock on the wall."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def device_clock(call: Callable[[], Any]) -> float:
    """Seconds on the wall from the call to the end of what it started on the GPU."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads inside the block, in PyTorch and in our C kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Timing:
    """What came out for one contestant.

    Attributes:
        seconds: One entry for each call.
        over: Why the call takes longer than the limit, or None.
        failure: The error that it raised, or None.
    """

    seconds: tuple[float, ...] = ()
    over: str | None = None
    failure: str | None = None

    @property
    def median(self) -> float | None:
        """Median seconds of a call; None where there is none."""
        return statistics.median(self.seconds) if self.seconds else None


def expect(contestant: Contestant, task: Task, problem: Problem, clock: Clock, limit: float) -> str | None:
    """Why a call would take longer than the limit, judged by calls on smaller parts; None if it may be tried.

    All work here grows at least in proportion to sentences times steps.
    """
    batch, length, _ = problem.shape
    for share, margin in RUNGS:
        part = problem.part(math.ceil(batch / share), max(2, math.ceil(length / share)))
        if part.shape == problem.shape:
            break
        call = contestant.prepare(task, part)
        seconds = clock(call)
        if seconds < limit / 20:
            seconds = min(seconds, clock(call))  # the first call may have had things to load
        size = part.shape.batch * part.shape.length
        expected = seconds * batch * length / size
        if expected > margin * limit:
            return f"about {expected:.0f} s, expected from {seconds:.2g} s at {part.shape}"
    return None


def measure(
    contestants: Sequence[Contestant],
    task: Task,
    problem: Problem,
    *,
    clock: Clock,
    budget: float,
    limit: float,
    known: Mapping[str, str | None] | None = None,
) -> dict[str, Timing]:
    """Time everybody on one problem, in turns, so that what disturbs the machine disturbs all of them.

    Args:
        contestants: Who answers the task.
        task: The question.
        problem: The inputs.
        clock: Runs a call and returns seconds.
        budget: Seconds to spend on each contestant; three calls are made in any case, or one that takes long.
        limit: Seconds; whoever needs more for a call is not measured.
        known: Why somebody is known to need more, by name.

    Returns:
        What came out, by name.
    """
    found: dict[str, Timing] = {}
    calls: dict[str, Callable[[], Any]] = {}
    seconds: dict[str, list[float]] = {}
    by_name = {contestant.name: contestant for contestant in contestants}
    for name, contestant in by_name.items():
        try:
            with contestant.active():
                why = (known or {}).get(name)
                if why is None and not isinstance(contestant, Ours):  # ours have answered the whole problem before
                    why = expect(contestant, task, problem, clock, limit)
                if why is None:
                    calls[name] = contestant.prepare(task, problem)
                    first = clock(calls[name])
                    why = f"{first:.1f} s" if first > limit else None
                    seconds[name] = [first]
        except Exception as error:  # somebody else's code may raise anything; it is named and left out
            found[name] = Timing(failure=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        else:
            if why is not None:
                found[name] = Timing(over=why)
    for name in found:
        calls.pop(name, None)
    wanted = {name: _calls(seconds[name][0], budget) for name in calls}
    series: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            with by_name[name].active():
                for _ in range(min(math.ceil(wanted[name] / TURNS), wanted[name] - len(series[name]))):
                    series[name].append(clock(call))
    for name in calls:  # the first call counts only where there is no other
        found[name] = Timing(tuple(series[name] or seconds[name]))
    return {name: found[name] for name in by_name}


def _calls(first: float, budget: float) -> int:
    """How many calls to make after a first one."""
    if first > 2.0:
        return 0
    return min(MOST_CALLS, max(3, int(budget / max(first, 1e-7))))
