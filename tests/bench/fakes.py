"""Backends that are wrong, and peers that are slow, broken or missing."""

from __future__ import annotations

import torch

from structkd.bench.contestants import Answer
from structkd.bench.peers import Peer, PytorchCRF
from structkd.kernels.interface import Expectations, Paths, Potentials
from structkd.kernels.scaled import Scaled


class WrongMarginals(Scaled):
    name = "wrong"

    def expectations(self, p: Potentials, pairs, *, keep: bool = False) -> Expectations:
        x = super().expectations(p, pairs, keep=keep)
        return x._replace(marginals=x.marginals * 1.001)

    def log_likelihood(self, p: Potentials, tags: torch.Tensor) -> Expectations:
        x = super().log_likelihood(p, tags)
        return x._replace(marginals=x.marginals * 1.001)


class WrongCounts(Scaled):
    name = "wrong"

    def expectations(self, p: Potentials, pairs, *, keep: bool = False) -> Expectations:
        x = super().expectations(p, pairs, keep=keep)
        return x._replace(pairs=None if x.pairs is None else x.pairs * 1.001)

    def log_likelihood(self, p: Potentials, tags: torch.Tensor) -> Expectations:
        x = super().log_likelihood(p, tags)
        return x._replace(pairs=None if x.pairs is None else x.pairs * 1.001)


class WrongDerivative(Scaled):
    name = "wrong"

    def directional(self, p: Potentials, unary, pairs, state=None):
        first, second = super().directional(p, unary, pairs, state)
        return first, second * 1.001


class NoNumbers(Scaled):
    name = "wrong"

    def expectations(self, p: Potentials, pairs, *, keep: bool = False) -> Expectations:
        x = super().expectations(p, pairs, keep=keep)
        return x._replace(marginals=x.marginals * torch.nan)


class TwiceTheSamePath(Scaled):
    name = "wrong"

    def topk(self, p: Potentials, k: int) -> Paths:
        best = super().topk(p, k)
        tags = best.tags.clone()
        tags[:, -1] = tags[:, 0]
        return best._replace(tags=tags) if k > 1 else best


class NotTheBestPath(Scaled):
    name = "wrong"

    def topk(self, p: Potentials, k: int) -> Paths:
        best = super().topk(p, k + 1)
        return Paths(best.tags[:, 1:], best.scores[:, 1:])


class NotInstalled(Peer):
    name = "not-installed"
    module = "a_module_that_nobody_has"


class BrokenImport(Peer):
    name = "broken-import"
    module = "torchcrf"

    def load(self):
        raise AttributeError("module 'transformers' has no attribute 'AdamW'")


class WrongPeer(PytorchCRF):
    """Right but for its marginals, and it raises when it is asked for the best path."""

    name = "wrong-peer"

    def prepare(self, task, problem):
        if task.name == "viterbi":
            raise IndexError("oops")
        return super().prepare(task, problem)

    def read(self, task, problem, found) -> Answer:
        answer = super().read(task, problem, found)
        return {"marginals": answer["marginals"] + 0.1} if task.name == "marginals" else answer


class PretendingPeer(PytorchCRF):
    """Claims to need a time that depends on the size; ``PretendingClock`` believes it."""

    name = "pretender"
    tasks = frozenset({"marginals", "backward"})

    def __init__(self, seconds):
        self.seconds = seconds
        self.called = []

    def prepare(self, task, problem):
        call = super().prepare(task, problem)

        def pretend():
            self.called.append(problem.shape)
            return call()

        pretend.seconds = self.seconds(*problem.shape)
        return pretend


def pretending_clock(call):
    call()
    return getattr(call, "seconds", 0.001)
