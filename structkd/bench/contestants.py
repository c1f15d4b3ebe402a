"""Who is measured: one interface for our backends and for other libraries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from structkd.bench.problems import TASK, Problem, Task
from structkd.crf import CRF
from structkd.kernels import use_backend

#: What a contestant answered, by quantity: "log-likelihood", "gradient of emissions", "marginals", "paths", ...
Answer = dict[str, Tensor]

GRADIENTS = tuple(f"gradient of {name}" for name in ("emissions", "transitions", "start", "end"))


class Contestant:
    """An implementation that answers some of the tasks."""

    name: str
    tasks: frozenset[str] = frozenset(TASK)

    def prepare(self, task: Task, problem: Problem) -> Callable[[], Any]:
        """The call that is measured. What a user does once, before training, is done here."""
        raise NotImplementedError

    def read(self, task: Task, problem: Problem, found: Any) -> Answer:
        """What a call returned, in the form that everybody's is compared in; not measured."""
        raise NotImplementedError

    def active(self) -> AbstractContextManager[Any]:
        """Entered around a series of calls."""
        return nullcontext()


def gradients(found: Any) -> Answer:
    """Gradients of the four potentials by name."""
    return dict(zip(GRADIENTS, found, strict=True))


def padded(rows: list[list[int]], problem: Problem) -> Tensor:
    """Lists of tags as paths [B, 1, T], -1 beyond the length."""
    paths = torch.full((len(rows), 1, problem.shape.length), -1)
    for b, row in enumerate(rows):
        paths[b, 0, : len(row)] = torch.tensor(row)
    return paths.to(problem.emissions.device)


def with_parameters(module: Any, problem: Problem) -> Any:
    """The module with the transitions of a problem, on its device."""
    module = module.to(problem.emissions.device)
    with torch.no_grad():
        module.transitions.copy_(problem.transitions)
        module.start_transitions.copy_(problem.start)
        module.end_transitions.copy_(problem.end)
    return module


class Ours(Contestant):
    """``structkd.crf.CRF`` on one of our backends, called as its users call it: with a mask."""

    def __init__(self, backend: str) -> None:
        self.name = backend

    def active(self) -> AbstractContextManager[Any]:
        return use_backend(self.name)

    def prepare(self, task: Task, problem: Problem) -> Callable[[], Any]:
        crf = with_parameters(CRF(problem.shape.tags, batch_first=True), problem)
        emissions = problem.emissions.clone().requires_grad_(task.name in ("nll", "backward"))
        leaves = emissions, crf.transitions, crf.start_transitions, crf.end_transitions
        mask, tags, weights = problem.mask, problem.tags, problem.weights

        def nll() -> Any:
            value = crf(emissions, tags, mask)
            return value, *torch.autograd.grad(value, leaves)

        @torch.no_grad()
        def marginals() -> Tensor:
            return crf.marginals(emissions, mask)

        def backward() -> tuple[Tensor, ...]:
            return torch.autograd.grad((crf.marginals(emissions, mask) * weights).sum(), leaves)

        def viterbi() -> list[list[int]]:
            return crf.decode(emissions, mask)

        @torch.no_grad()
        def topk() -> Tensor:
            return crf.distribution(emissions, mask).topk(task.k).tags

        calls = {"nll": nll, "marginals": marginals, "backward": backward, "viterbi": viterbi}
        return calls.get(task.name, topk)

    def read(self, task: Task, problem: Problem, found: Any) -> Answer:
        return read_like_pytorch_crf(task, problem, found)


def read_like_pytorch_crf(task: Task, problem: Problem, found: Any) -> Answer:
    """Answers of modules with the interface of pytorch-crf."""
    if task.name == "nll":
        return {"log-likelihood": found[0], **gradients(found[1:])}
    if task.name == "marginals":
        return {"marginals": found}
    if task.name == "backward":
        return gradients(found)
    return {"paths": padded(found, problem) if task.name == "viterbi" else found}
