"""Other people's linear-chain CRFs, each called in the cheapest way that its interface offers.

pytorch-crf has no marginals: they are the gradient of its private normaliser, as its users compute them. torch-struct
wants potentials of edges [B, T-1, C, C]: they are made inside the measured call, because they are made from the
emissions at every step of training. supar wants start and end in the transition matrix: it is given as a parameter.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from structkd.bench.contestants import Answer, Contestant, gradients, read_like_pytorch_crf, with_parameters
from structkd.bench.problems import Problem, Task


class Peer(Contestant):
    """A library that may not be installed."""

    module: str

    def load(self) -> ModuleType:
        """Import the library; whatever is wrong with it is raised here."""
        return importlib.import_module(self.module)


class PytorchCRF(Peer):
    name = "pytorch-crf"
    module = "torchcrf"
    tasks = frozenset({"nll", "marginals", "backward", "viterbi"})

    def prepare(self, task: Task, problem: Problem) -> Callable[[], Any]:
        crf = with_parameters(self.load().CRF(problem.shape.tags, batch_first=True), problem)
        emissions = problem.emissions.clone().requires_grad_()
        leaves = emissions, crf.transitions, crf.start_transitions, crf.end_transitions
        mask, tags, weights = problem.mask, problem.tags, problem.weights

        def nll() -> Any:
            value = crf(emissions, tags, mask)
            return value, *torch.autograd.grad(value, leaves)

        def log_partition() -> Tensor:
            return crf._compute_normalizer(emissions.transpose(0, 1), mask.transpose(0, 1)).sum()

        def marginals() -> Tensor:
            return torch.autograd.grad(log_partition(), emissions)[0]

        def backward() -> Any:
            (found,) = torch.autograd.grad(log_partition(), emissions, create_graph=True)
            return torch.autograd.grad((found * weights).sum(), leaves)

        @torch.no_grad()
        def viterbi() -> list[list[int]]:
            return crf.decode(emissions, mask)

        return {"nll": nll, "marginals": marginals, "backward": backward, "viterbi": viterbi}[task.name]

    def read(self, task: Task, problem: Problem, found: Any) -> Answer:
        return read_like_pytorch_crf(task, problem, found)


class TorchStruct(Peer):
    name = "torch-struct"
    module = "torch_struct"

    def prepare(self, task: Task, problem: Problem) -> Callable[[], Any]:
        chain_crf = self.load().LinearChainCRF
        leaves = problem.leaves()
        lengths, weights, k = problem.lengths, problem.weights, task.k
        _, length, num_tags = problem.shape
        inside = problem.mask[:, 1:]
        last = torch.nn.functional.one_hot(lengths - 1, length)[..., None].to(problem.emissions.dtype)
        before, after = problem.tags[:, :-1], problem.tags[:, 1:]
        gold = (after * num_tags + before)[..., None]

        def edges() -> Tensor:
            """[B, T-1, to, from]"""
            emissions, transitions, start, end = leaves
            unary = emissions + last * end
            first = unary[:, 0] + start
            rest = transitions.t() + unary[:, 1:, :, None]
            return torch.cat((rest[:, :1] + first[:, None, None, :], rest[:, 1:]), 1)

        def tagwise(pairs: Tensor) -> Tensor:
            """[..., T-1, to, from] -> [..., T, C]"""
            return torch.cat((pairs[..., :1, :, :].sum(-2), pairs.sum(-1)), -2)

        def nll() -> Any:
            potentials = edges()
            scores = potentials.flatten(2).gather(2, gold)[..., 0]
            log_partition = chain_crf(potentials, lengths=lengths).partition
            value = torch.where(inside, scores, 0).sum() - log_partition.sum()
            return value, *torch.autograd.grad(value, leaves)

        def marginals() -> Tensor:
            return tagwise(chain_crf(edges(), lengths=lengths).marginals)

        def backward() -> Any:
            return torch.autograd.grad((marginals() * weights).sum(), leaves)

        def viterbi() -> Tensor:
            return tagwise(chain_crf(edges(), lengths=lengths).argmax).argmax(-1)[:, None]

        def topk() -> Tensor:
            return tagwise(chain_crf(edges(), lengths=lengths).topk(k)).argmax(-1).transpose(0, 1)

        calls = {"nll": nll, "marginals": marginals, "backward": backward, "viterbi": viterbi}
        return calls.get(task.name, topk)

    def read(self, task: Task, problem: Problem, found: Any) -> Answer:
        if task.name == "nll":
            return {"log-likelihood": found[0], **gradients(found[1:])}
        if task.name == "marginals":
            return {"marginals": torch.where(problem.mask[..., None], found.detach(), 0)}
        if task.name == "backward":
            return gradients(found)
        return {"paths": torch.where(problem.mask[:, None], found, -1)}


class Supar(Peer):
    name = "supar"
    module = "supar"

    def prepare(self, task: Task, problem: Problem) -> Callable[[], Any]:
        chain_crf = self.load().LinearChainCRF
        emissions = problem.emissions.clone().requires_grad_()
        square = torch.nn.functional.pad(problem.transitions, (0, 1, 0, 1))
        square[-1, :-1], square[:-1, -1] = problem.start, problem.end
        square.requires_grad_()
        leaves = emissions, square
        lengths, tags, weights, k = problem.lengths, problem.tags, problem.weights, task.k

        def chain() -> Any:
            return chain_crf(emissions, square, lengths)

        def nll() -> Any:
            value = chain().log_prob(tags).sum()
            return value, *torch.autograd.grad(value, leaves)

        def marginals() -> Tensor:
            return chain().marginals

        def backward() -> Any:
            return torch.autograd.grad((chain().marginals * weights).sum(), leaves)

        def viterbi() -> Tensor:
            return chain().argmax

        def topk() -> Tensor:
            return chain().topk(k)

        calls = {"nll": nll, "marginals": marginals, "backward": backward, "viterbi": viterbi}
        return calls.get(task.name, topk)

    def read(self, task: Task, problem: Problem, found: Any) -> Answer:
        if task.name == "marginals":
            return {"marginals": found.detach()}
        if task.k:
            paths = found[:, None] if task.name == "viterbi" else found.transpose(1, 2)
            return {"paths": torch.where(problem.mask[:, None], paths, -1)}
        value, (emissions, square) = found[:-2], found[-2:]
        split = gradients((emissions, square[:-1, :-1], square[-1, :-1], square[:-1, -1]))
        return {"log-likelihood": value[0], **split} if value else split


def all_peers() -> list[Peer]:
    """The peers in the order of their columns."""
    return [PytorchCRF(), TorchStruct(), Supar()]
