"""What can be measured on a GPU only: kernel time, memory, the bandwidth of the device, and peers in a CUDA graph."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from structkd.bench.clocks import device_clock
from structkd.bench.contestants import Answer, Contestant, read_like_pytorch_crf, with_parameters
from structkd.bench.peers import Peer
from structkd.bench.problems import Problem, Task

_REPEATS = 11
_PROFILED = 0.3  # seconds of calls; the profiler keeps every kernel in mind
_COPIED_BYTES = 1 << 30


def details(contestant: Contestant, task: Task, problem: Problem) -> dict[str, Any]:
    """Kernel time, memory and bytes of a call, as fields of a cell."""
    with contestant.active():
        call = contestant.prepare(task, problem)
        call()  # compiled and allocated now
        return {
            "kernel_milliseconds": kernel_seconds(call) * 1e3,
            "memory_bytes": peak_memory(call),
            "least_bytes": problem.least_bytes(task),
        }


def kernel_seconds(call: Callable[[], Any]) -> float:
    """Mean seconds that the GPU works on a call: its kernels and copies, as the profiler sees them, without the gaps.

    Events around a call would count the gaps too wherever it waits for the GPU, as every check of a mask does.
    """
    repeats = max(1, min(_REPEATS, int(_PROFILED / device_clock(call))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about events of earlier cycles; there are none
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            for _ in range(repeats):
                call()
            torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in found.key_averages()) / 1e6 / repeats


def _between_events(call: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def peak_memory(call: Callable[[], Any]) -> int:
    """Most bytes that a call holds beside what was there before it, its results included.

    Of a CUDA graph only what lies outside its own pool is seen.
    """
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy on the device reads and writes together: a measured roof."""
    source = torch.randn(_COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = statistics.median(_between_events(lambda: target.copy_(source)) for _ in range(_REPEATS))
    return 2 * _COPIED_BYTES / seconds


def without_assertions(module: ModuleType) -> ModuleType:
    """The module compiled once more as `python -O` would: an `assert` on a CUDA tensor waits for the GPU."""
    path = Path(str(module.__file__))
    copy = ModuleType(module.__name__)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec", optimize=1), copy.__dict__)
    return copy


class GraphedPytorchCRF(Peer):
    """The strong baseline: pytorch-crf's forward and backward pass recorded once as a CUDA graph, and replayed.

    What it launches stays the same, but the host launches it all at once. Checks that wait for the GPU are left out:
    they cannot be recorded. Viterbi, which reads every tag on the host, cannot either.
    """

    name = "pytorch-crf, graph"
    module = "torchcrf"
    tasks = frozenset({"nll", "marginals", "backward"})

    def prepare(self, task: Task, problem: Problem) -> Callable[[], Any]:
        call = self.eager(task, problem)
        if problem.emissions.device.type != "cuda":
            return call
        # Warming up beside the current stream is what torch.cuda.graph asks for.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = call()

        def replay() -> Any:
            graph.replay()
            return found

        return replay

    def eager(self, task: Task, problem: Problem) -> Callable[[], Any]:
        """The call before it is recorded."""
        device = problem.emissions.device
        crf = with_parameters(without_assertions(self.load()).CRF(problem.shape.tags, batch_first=True), problem)
        emissions = problem.emissions.clone().requires_grad_()
        leaves = emissions, crf.transitions, crf.start_transitions, crf.end_transitions
        mask, tags, weights = problem.mask.t(), problem.tags.t(), problem.weights

        def log_partition() -> Tensor:
            return crf._compute_normalizer(emissions.transpose(0, 1), mask).sum()

        def nll() -> Any:
            with torch.device(device):  # pytorch-crf makes its row numbers on the default device
                value = crf._compute_score(emissions.transpose(0, 1), tags, mask).sum() - log_partition()
            return value, *torch.autograd.grad(value, leaves)

        def marginals() -> Tensor:
            return torch.autograd.grad(log_partition(), emissions)[0]

        def backward() -> Any:
            (found,) = torch.autograd.grad(log_partition(), emissions, create_graph=True)
            return torch.autograd.grad((found * weights).sum(), leaves)

        return {"nll": nll, "marginals": marginals, "backward": backward}[task.name]

    def read(self, task: Task, problem: Problem, found: Any) -> Answer:
        return read_like_pytorch_crf(task, problem, found)
