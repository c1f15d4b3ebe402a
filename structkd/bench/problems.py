"""What everybody in the benchmark is given: the same random chains, and the questions asked about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from structkd.errors import UsageError


class Shape(NamedTuple):
    """B sentences, T steps of the longest one, C tags."""

    batch: int
    length: int
    tags: int

    def __str__(self) -> str:
        return f"({self.batch},{self.length},{self.tags})"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read "B,T,C", with or without parentheses; UsageError for anything else."""
        numbers = text.strip("() ").split(",")
        if len(numbers) != 3 or not all(n.strip().isdigit() and int(n) > 0 for n in numbers):
            raise UsageError(f"shape {text!r}: expected three numbers above 0, B,T,C, such as 32,64,17")
        if int(numbers[1]) < 2:
            raise UsageError(f"shape {text!r}: expected T of at least 2, because torch-struct knows no single step")
        return cls(*map(int, numbers))

    def within(self, other: Shape) -> bool:
        """Whether every algorithm here has at least as much to do for the other shape."""
        return (
            self.length <= other.length
            and self.tags <= other.tags
            and self.batch * self.length <= other.batch * other.length
        )


@dataclass(frozen=True)
class Task:
    """A question, and what it is called on the command line and above a table."""

    name: str
    title: str
    #: Number of paths asked for; 0 where the question is not about paths.
    k: int = 0
    #: The peer whose time is divided by ours.
    baseline: str = "pytorch-crf"
    #: A task that is part of this one: where that one takes too long, this one does too.
    contains: str | None = None


TASKS = (
    Task("nll", "NLL, forward + backward"),
    Task("marginals", "Tag marginals"),
    Task("backward", "Tag marginals + backward through them", contains="marginals"),
    Task("viterbi", "Viterbi", k=1),
    Task("5-best", "5 best paths", k=5, baseline="supar", contains="viterbi"),
    Task("10-best", "10 best paths", k=10, baseline="supar", contains="5-best"),
)
TASK = {task.name: task for task in TASKS}


@dataclass(frozen=True)
class Problem:
    """A batch of chains, tags to score, and weights for the sum of marginals that is differentiated."""

    emissions: Tensor  # [B, T, C]
    transitions: Tensor  # [C, C]
    start: Tensor  # [C]
    end: Tensor  # [C]
    lengths: Tensor  # [B] int64, from T/2 to T, the first one T
    tags: Tensor  # [B, T] int64
    weights: Tensor  # [B, T, C]
    mask: Tensor  # [B, T] bool

    @classmethod
    def draw(cls, shape: Shape, device: torch.device | None = None, *, seed: int = 0) -> Problem:
        """Random float32 chains with ragged lengths; the numbers do not depend on the device."""
        generator = torch.Generator().manual_seed(seed)
        batch, length, tags = shape

        def normal(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator).to(device)

        lengths = torch.randint((length + 1) // 2, length + 1, (batch,), generator=generator)
        lengths[0] = length
        return cls(
            2 * normal(batch, length, tags),
            normal(tags, tags),
            normal(tags),
            normal(tags),
            lengths.to(device),
            torch.randint(tags, (batch, length), generator=generator).to(device),
            normal(batch, length, tags),
            (torch.arange(length) < lengths[:, None]).to(device),
        )

    @property
    def shape(self) -> Shape:
        return Shape(*self.emissions.shape)

    def part(self, batch: int, length: int) -> Problem:
        """The first steps, at most half of them, of the first sentences."""
        rows = slice(batch), slice(length)
        return Problem(
            self.emissions[rows].contiguous(),
            self.transitions,
            self.start,
            self.end,
            self.lengths[:batch].clamp(max=length),
            self.tags[rows].contiguous(),
            self.weights[rows].contiguous(),
            self.mask[rows].contiguous(),
        )

    def leaves(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Emissions, transitions, start and end as new leaves of a graph."""
        chain = (self.emissions, self.transitions, self.start, self.end)
        emissions, transitions, start, end = (x.to(dtype, copy=True).requires_grad_() for x in chain)
        return emissions, transitions, start, end

    def least_bytes(self, task: Task) -> int:
        """What any implementation moves: every input read once, every result written once."""
        batch, length, num_tags = self.emissions.shape
        emissions = self.emissions.element_size() * self.emissions.numel()
        small = self.emissions.element_size() * (num_tags + 2) * num_tags
        if task.k:
            return emissions + small + 8 * task.k * batch * length
        arrays = {"nll": 2, "marginals": 2, "backward": 4}[task.name]
        parameters = 1 if task.name == "marginals" else 2
        return arrays * emissions + parameters * small + (8 * batch * length if task.name == "nll" else 0)
