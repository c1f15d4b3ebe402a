"""Nobody's speed is shown before their answers are right: values and gradients, on the inputs that are timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from structkd.bench.contestants import Answer, Contestant, gradients
from structkd.bench.problems import Problem, Task
from structkd.crf import LinearChainCRF
from structkd.kernels import use_backend

#: Largest difference allowed, relative to the largest number of the answer, or to 1. Inputs and results are float32;
#: ours are wider inside, the peers' are not.
OURS, PEERS = 1e-5, 1e-3


def truth(task: Task, problem: Problem) -> Answer:
    """The answer of the backend ``reference``, in float64; for paths, their scores."""
    leaves = problem.leaves(torch.float64)
    with use_backend("reference"):
        chain = LinearChainCRF(*leaves, problem.lengths)
        if task.name == "nll":
            value = chain.log_prob(problem.tags).sum()
            return {"log-likelihood": value.detach(), **gradients(torch.autograd.grad(value, leaves))}
        if task.k:
            return {"paths": chain.topk(task.k).scores.detach()}
        graph = task.name == "backward"
        (marginals,) = torch.autograd.grad(chain.log_partition.sum(), leaves[0], create_graph=graph)
        if not graph:
            return {"marginals": marginals}
        return gradients(torch.autograd.grad((marginals * problem.weights).sum(), leaves))


def disagreement(expected: Answer, found: Answer, problem: Problem, tolerance: float) -> str | None:
    """How an answer differs from the truth, or None.

    Paths are compared by their scores in float64, because two paths may be equally good; they must be different ones,
    and end where the sentence ends.
    """
    for name, right in expected.items():
        given = found[name].detach()
        if name == "paths":
            fault = _fault_of_paths(given, problem)
            if fault is not None:
                return fault
            given = _score(given, problem)
        if given.shape != right.shape:
            return f"{name}: shape {tuple(given.shape)}, expected {tuple(right.shape)}"
        error = float((given.double() - right).abs().max())
        allowed = tolerance * max(1.0, float(right.abs().max()))
        if not error <= allowed:  # nan is no agreement
            quantity = "scores of the paths" if name == "paths" else name
            return f"{quantity}: off by {error:.2g}, allowed is {allowed:.2g}"
    return None


def _fault_of_paths(paths: Tensor, problem: Problem) -> str | None:
    inside = problem.mask[:, None].expand_as(paths)
    if bool(((paths >= 0) != inside).any()):
        return "paths: not as long as the sentences"
    if bool((paths >= problem.shape.tags).any()):
        return "paths: a tag that does not exist"
    same = (paths[:, :, None] == paths[:, None]).all(-1).sum((1, 2)) > paths.shape[1]
    return "paths: the same path twice" if bool(same.any()) else None


def _score(paths: Tensor, problem: Problem) -> Tensor:
    with torch.no_grad():
        return LinearChainCRF(*problem.leaves(torch.float64), problem.lengths).score(paths)


def answer(contestant: Contestant, task: Task, problem: Problem) -> Answer:
    """What a contestant says, once."""
    with contestant.active():
        found: Any = contestant.prepare(task, problem)()
    return contestant.read(task, problem, found)
