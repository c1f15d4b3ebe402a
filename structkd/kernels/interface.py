"""What a backend must answer, and what it is asked about.

Names: B sentences, T steps of the longest one, C tags, n the length of one sentence, k paths.
A backend sees raw tensors and returns raw tensors. Derivatives are joined to PyTorch in ``autograd.py``, for all
backends in the same way; checks on the caller's tensors happen once, in ``structkd.crf``.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from structkd.errors import StructKDError
from structkd.kernels import scores


class BackendUnavailable(StructKDError):
    """A backend was forced that cannot run here; the message says why."""


#: What is wanted of pairs: nothing, sums over the positions [B, C, C], or every position [B, T-1, C, C]. Where the
#: transitions depend on the position, "counts" gives every position too: the gradient needs them.
Pairs = Literal["none", "counts", "edges"]


class Potentials(NamedTuple):
    """The log-potentials of a batch of chains, in nats, all of one dtype (float32 or float64) and on one device."""

    emissions: Tensor  # [B, T, C]
    transitions: Tensor  # [C, C], [B, C, C] or [B, T-1, C, C]; from row to column
    start: Tensor  # [C] or [B, C]
    end: Tensor  # [C] or [B, C]
    lengths: Tensor  # [B] int64, 1..T

    @property
    def by_position(self) -> bool:
        """Whether every pair of neighbouring steps has transitions of its own."""
        return self.transitions.dim() == 4

    def double(self) -> Potentials:
        """The same in float64."""
        return Potentials._make((*(x.double() for x in self[:4]), self.lengths))

    def rows(self, index: Tensor) -> Potentials:
        """The chains of some sentences."""
        return Potentials(
            self.emissions[index],
            self.transitions if self.transitions.dim() == 2 else self.transitions[index],
            self.start if self.start.dim() == 1 else self.start[index],
            self.end if self.end.dim() == 1 else self.end[index],
            self.lengths[index],
        )


class Expectations(NamedTuple):
    """A function of the potentials and its first derivatives; they are 0 beyond the length.

    The function is log Z, the log-probability of a path, or the loss of a target; where no path is legal, the
    derivatives of the former two are 0 everywhere.
    """

    value: Tensor  # [B]
    marginals: Tensor  # [B, T, C]; of a path its one-hot tags minus the marginals, of a target the reverse
    pairs: Tensor | None  # [B, C, C] or [B, T-1, C, C]; for a path its counts minus the expected ones
    state: Any = None  # what the backend can use again in ``directional``


class Paths(NamedTuple):
    """Best paths; tags are -1 beyond the length and on paths that do not exist, whose score is -inf."""

    tags: Tensor  # [B, k, T] int64
    scores: Tensor  # [B, k]


class MaskFacts(NamedTuple):
    """What a mask [B, T] says."""

    lengths: Tensor  # [B] int64, the number of steps kept
    holes: bool  # in some sentence the kept steps are not the first ones
    first_off: bool  # in some sentence the first step is off
    empty: bool  # some sentence keeps no step


class Backend:
    """One way to compute. The score of given paths needs no dynamic programme, so every backend inherits it."""

    name: str
    #: Results are ordinary differentiable PyTorch expressions: autograd.py adds no node of its own.
    differentiable = False
    #: There is a ``decode_masked``: reading a mask apart would cost as much again as finding the best paths.
    decodes_masked = False

    def unavailable(self) -> str | None:
        """Why this backend cannot run here, or None if it can."""
        return None

    def runs_on(self, device: torch.device) -> bool:
        """Whether this backend can work on tensors of that device."""
        return True

    def log_partition(self, p: Potentials) -> Tensor:
        """log Z [B]."""
        return self.expectations(p, "none").value

    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        """log Z, marginals and expected transition counts; ``keep`` asks for a ``state`` if that is cheap."""
        raise NotImplementedError

    def directional(
        self, p: Potentials, unary: Tensor | None, pairs: Tensor | None, state: Any = None
    ) -> tuple[Tensor, Tensor]:
        """The derivative of marginals and counts along a direction: a Hessian-vector product of log Z.

        Args:
            p: The chains.
            unary: Direction of the emissions [B, T, C]; None is 0.
            pairs: Direction of the transitions [B, C, C] or [B, T-1, C, C]; None is 0.
            state: Of ``expectations`` of the same chains, or None.

        Returns:
            [B, T, C], and [B, C, C] or, if ``p.by_position``, [B, T-1, C, C].
        """
        raise NotImplementedError

    def viterbi(self, p: Potentials) -> Paths:
        """The best path, k = 1."""
        return self.topk(p, 1)

    def decode(self, p: Potentials) -> list[list[int]]:
        """The best tags of every sentence, up to its length."""
        rows = self.viterbi(p).tags[:, 0].tolist()
        return [row[:n] for row, n in zip(rows, p.lengths.tolist(), strict=True)]

    def decode_masked(self, p: Potentials, mask: Tensor) -> list[list[int]] | None:
        """The best tags of the steps that a mask [B, T] of bools keeps; ``p.lengths`` is not read.

        None where the mask needs care: it has holes, or a first step is off.
        """
        raise NotImplementedError

    def topk(self, p: Potentials, k: int) -> Paths:
        """The k best paths, best first, without duplicates."""
        raise NotImplementedError

    def sample(self, p: Potentials, uniforms: Tensor) -> Tensor:
        """Exact samples by inverting the distribution function: uniforms [B, n, T] in [0, 1) -> tags [B, n, T]."""
        raise NotImplementedError

    def log_likelihood(self, p: Potentials, tags: Tensor) -> Expectations:
        """score(tags [B, T]) - log Z and its derivatives in one go; ValueError for tags that are no path.

        -inf, with derivatives of 0, where the path is -1 or no path is legal.
        """
        self.check_tags(p, tags[:, None])
        wide = p.double()  # the difference of two large scores
        log_z, marginals, pairs, _ = self.expectations(wide, "counts")
        assert pairs is not None
        gold = self.path_scores(wide, tags[:, None])[:, 0]
        absent = torch.isneginf(log_z) | (tags[:, 0] < 0)
        value = torch.where(absent, -torch.inf, gold - log_z)
        live = (~absent).double()
        unary_counts, pair_counts = self.path_counts(tags[:, None], live[:, None], p)
        marginals = unary_counts.addcmul_(marginals, live[:, None, None], value=-1)
        pairs = pair_counts.addcmul_(pairs, live.view(-1, *[1] * (pairs.dim() - 1)), value=-1)
        dtype = p.emissions.dtype
        return Expectations(value.to(dtype), marginals.to(dtype), pairs.to(dtype))

    def check_tags(self, p: Potentials, tags: Tensor) -> None:
        """Raise ValueError unless each of tags [B, k, T] is a path, or -1 at every step."""
        scores.check_tags(tags, p.lengths, p.emissions.shape[2])

    def match(self, p: Potentials, mass: Tensor, unary: Tensor, pairs: Tensor) -> Expectations:
        """mass [B] * log Z - <unary, pairs; potentials> and its derivatives in one go.

        +inf where a mass meets a score of -inf, or where no path is legal.

        Args:
            p: The chains; transitions must not depend on the position.
            mass: What unary sums to at each step.
            unary: Expected tags [B, T, C] under another distribution, times the mass.
            pairs: Expected pairs of tags [B, C, C], likewise.
        """
        wide = p.double()  # the difference of two large scores
        z, marginals, counts, _ = self.expectations(wide, "counts")
        assert counts is not None
        mass = mass.double()
        score = self.expected_score(wide, unary.double(), pairs.double())
        value = torch.where(mass == 0, 0, mass * z) - score
        value = torch.where(torch.isneginf(score) | ((mass != 0) & torch.isneginf(z)), torch.inf, value)
        dtype = p.emissions.dtype
        inside = scores.within(p.lengths, unary.shape[1])[..., None]
        return Expectations(
            value.to(dtype),
            torch.where(inside, marginals * mass[:, None, None] - unary, 0).to(dtype),
            (counts * mass[:, None, None] - pairs).to(dtype),
        )

    def path_scores(self, p: Potentials, tags: Tensor) -> Tensor:
        """Unnormalised scores [B, k] of paths [B, k, T]; -inf for a path of -1."""
        return scores.path_scores(p, tags).to(p.emissions.dtype)

    def path_counts(self, tags: Tensor, weights: Tensor, p: Potentials) -> tuple[Tensor, Tensor]:
        """Tag and pair counts of paths, weighted and summed over k: the adjoint of ``path_scores``."""
        return scores.path_counts(tags, weights, p)

    def expected_score(self, p: Potentials, marginals: Tensor, pairs: Tensor | None) -> Tensor:
        """<marginals, emissions> + <pairs, transitions> + the ends [B], with 0 * (-inf) = 0."""
        return scores.expected_score(p, marginals, pairs)

    def weigh(
        self, weights: Tensor | None, unary: Tensor, pairs: Tensor | None, p: Potentials
    ) -> tuple[Tensor | None, ...]:
        """weights [B] (None is 1) times expectations, summed into the shapes of emissions, transitions, start, end."""
        return scores.weigh(weights, unary, pairs, p)

    def are_lengths(self, lengths: Tensor, length: int) -> bool:
        """Whether all of lengths [B] are in 1..length."""
        low, high = torch.aminmax(lengths)
        return low.item() >= 1 and high.item() <= length

    def read_mask(self, mask: Tensor) -> MaskFacts:
        """Lengths of a mask [B, T] of bools, and what is unusual about it."""
        lengths = mask.sum(1)
        first_off = not bool(mask[:, 0].all())
        holes = first_off or not torch.equal(mask, scores.within(lengths, mask.shape[1]))
        return MaskFacts(lengths, holes, first_off, first_off and bool((lengths == 0).any()))
