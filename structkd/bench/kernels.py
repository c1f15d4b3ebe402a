"""`structkd bench kernels`: our CRF kernels against other people's, on the same inputs in one run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from structkd.bench import agreement, clocks
from structkd.bench.clocks import Timing
from structkd.bench.contestants import Contestant, Ours
from structkd.bench.findings import Cell, Findings, Plan, cores, numbers
from structkd.bench.peers import Peer, all_peers
from structkd.bench.problems import TASK, Problem, Shape, Task
from structkd.kernels import BackendUnavailable, select, status, use_backend

_SCALED = Shape(32, 64, 17)
SCALING = {
    "length": tuple(_SCALED._replace(length=n) for n in (16, 64, 256, 1024)),
    "tags": tuple(_SCALED._replace(tags=n) for n in (3, 9, 17, 33, 65)),
    "batch": tuple(_SCALED._replace(batch=n) for n in (1, 8, 32, 128)),
}
SCALING_TASKS = ("nll", "viterbi")
#: Sentences enough for every thread.
THREADS_SHAPE = Shape(128, 64, 17)
#: Where every peer's answers are checked before it is timed.
SMALL = Shape(3, 7, 4)

Progress = Callable[[str], None]


def run(plan: Plan, peers: Sequence[Peer] | None = None, progress: Progress = lambda message: None) -> Findings:
    """Check everybody's answers, then time those whose answers are right.

    Args:
        plan: What to measure.
        peers: Whom to compare with; None means all.
        progress: Is told what is going on.

    Returns:
        A backend that disagrees with the reference is in ``refused`` and has no cell at all.
    """
    found = Findings(plan)
    with clocks.threads(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch_struct")  # about a check of arguments, at every call
        ours = _right(found, _runnable(found), progress)
        others = _working(found, all_peers() if peers is None else peers, progress)
        if plan.device.type == "cuda":
            from structkd.bench import cuda

            if any(peer.name == "pytorch-crf" for peer in others):
                others += _working(found, [cuda.GraphedPytorchCRF()], progress)
            found.copy_bandwidth = cuda.copy_bandwidth(plan.device)
        contestants: list[Contestant] = [*others, *ours]
        found.contestants = [contestant.name for contestant in contestants]
        for name in plan.tasks:
            for shape in plan.shapes:
                _measure(found, "main", TASK[name], shape, contestants, progress)
        if plan.scaling:
            _scale(found, [c for c in contestants if isinstance(c, Ours) or c.name == "pytorch-crf"], progress)
    return found


def _runnable(found: Findings) -> list[Ours]:
    """Our backends that can work on the device; the others are left out with the reason."""
    states = status()
    runnable = []
    for name in found.plan.backends or states:
        try:
            with use_backend(name):
                select(found.plan.device)
        except BackendUnavailable as error:
            if found.plan.backends is not None:
                raise
            found.left_out[name] = states[name] if states[name] != "available" else str(error)
        else:
            if name == "triton" and found.plan.device.type != "cuda":
                found.left_out[name] = "interpreted kernels have no speed to measure"
            else:
                runnable.append(Ours(name))
    return runnable


def _right(found: Findings, ours: list[Ours], progress: Progress) -> list[Ours]:
    """Those of our backends that agree with the reference on everything that will be timed."""
    wanted = {shape: found.plan.tasks for shape in found.plan.shapes}
    if found.plan.scaling:
        extra = tuple(name for name in SCALING_TASKS if name in found.plan.tasks)
        for shape in (*(shape for shapes in SCALING.values() for shape in shapes), THREADS_SHAPE):
            wanted.setdefault(shape, extra)
    for shape, names in wanted.items():
        progress(f"checking {', '.join(backend.name for backend in ours)} at {shape}")
        problem = Problem.draw(shape, found.plan.device)
        for task in map(TASK.__getitem__, names):
            expected = agreement.truth(task, problem)
            for backend in (b for b in ours if b.name not in found.refused):
                answer = agreement.answer(backend, task, problem)
                fault = agreement.disagreement(expected, answer, problem, agreement.OURS)
                if fault is not None:
                    found.refused[backend.name] = f"disagrees with the reference: {task.name} at {shape}: {fault}"
    return [backend for backend in ours if backend.name not in found.refused]


def _working(found: Findings, peers: Sequence[Peer], progress: Progress) -> list[Peer]:
    """Those of the peers that are installed, without the tasks that they fail or get wrong on a small batch."""
    problem = Problem.draw(SMALL, found.plan.device)
    working = []
    for peer in peers:
        progress(f"checking {peer.name} at {SMALL}")
        try:
            peer.load()
        except ImportError as error:
            found.left_out[peer.name] = f"cannot be imported ({error}); pip install 'structkd[bench]'"
            continue
        except Exception as error:  # somebody else's code may raise anything; it is named and left out
            found.left_out[peer.name] = f"cannot be imported ({type(error).__name__}: {error})"
            continue
        faults = {name: _fault(peer, TASK[name], problem) for name in found.plan.tasks if name in peer.tasks}
        found.left_out |= {f"{peer.name}: {name}": fault for name, fault in faults.items() if fault is not None}
        peer.tasks = frozenset(name for name, fault in faults.items() if fault is None)
        working.append(peer)
    return working


def _fault(peer: Peer, task: Task, problem: Problem) -> str | None:
    expected = agreement.truth(task, problem)
    try:
        answer = agreement.answer(peer, task, problem)
        fault = agreement.disagreement(expected, answer, problem, agreement.PEERS)
    except Exception as error:  # as above
        return f"{type(error).__name__}: {error}"
    return None if fault is None else f"disagrees with the reference at {problem.shape}: {fault}"


def _scale(found: Findings, contestants: list[Contestant], progress: Progress) -> None:
    tasks = [TASK[name] for name in SCALING_TASKS if name in found.plan.tasks]
    for task in tasks:
        for table, shapes in SCALING.items():
            for shape in shapes:
                _measure(found, table, task, shape, contestants, progress)
    for task in tasks if found.plan.device.type == "cpu" else []:
        for number in thread_numbers():
            with clocks.threads(number):
                _measure(found, "threads", task, THREADS_SHAPE, contestants, progress, threads=number)


def thread_numbers() -> list[int]:
    """1, 2, 4, ... and the number of cores that this process may use."""
    return sorted({*(2**n for n in range(cores().bit_length())), cores()})


def _measure(
    found: Findings,
    table: str,
    task: Task,
    shape: Shape,
    contestants: list[Contestant],
    progress: Progress,
    *,
    threads: int = 1,
) -> None:
    """Add the cells of one row."""
    plan = found.plan
    cuda = plan.device.type == "cuda"
    clock_name = "device" if cuda else "wall" if table == "threads" else "cpu"
    clock = {"device": clocks.device_clock, "wall": clocks.wall_clock, "cpu": clocks.cpu_clock}[clock_name]
    progress(f"{task.name} at {shape}" + (f", {threads} threads" if threads > 1 else "") + (": no time" * found.late))
    problem = Problem.draw(shape, plan.device)
    able = [contestant for contestant in contestants if task.name in contestant.tasks and not found.late]
    known = {contestant.name: found.over(contestant.name, task.name, shape) for contestant in able}
    timings = clocks.measure(able, task, problem, clock=clock, budget=plan.budget, limit=plan.limit, known=known)
    for contestant in contestants:
        name = contestant.name
        timing = timings.get(name)
        if table == "threads":
            baseline, base = f"{name}, 1 thread", _alone(found, task, name) if threads > 1 else timing
        else:
            baseline, base = task.baseline, timings.get(task.baseline)
        if timing is not None:
            facts = numbers(timing, base, plan.limit)
        else:
            facts = {"state": "skipped" if task.name in contestant.tasks else "none"}
        if cuda and facts["state"] == "measured":
            from structkd.bench.cuda import details

            facts |= details(contestant, task, problem)
        if facts.get("ratio") is not None:
            facts["baseline"] = baseline
        found.cells.append(
            Cell(table=table, task=task.name, shape=shape, threads=threads, contestant=name, clock=clock_name, **facts)
        )


def _alone(found: Findings, task: Task, name: str) -> Timing | None:
    """What a contestant needed with one thread."""
    for cell in found.cells:
        alone = cell.table == "threads" and cell.threads == 1
        if alone and (cell.task, cell.contestant) == (task.name, name) and cell.milliseconds is not None:
            return Timing((cell.milliseconds / 1e3,))
    return None
