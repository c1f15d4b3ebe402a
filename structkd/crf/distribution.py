"""A linear-chain CRF as a probability distribution over tag sequences that can be asked questions."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from structkd.crf.checks import check_chain, check_same
from structkd.crf.lazy import Lazy
from structkd.kernels import Potentials, autograd, scores, select
from structkd.labels.transitions import LegalTransitions

_HALF = (torch.float16, torch.bfloat16)


class Argmax(NamedTuple):
    """The best path: tags [B, T] (-1 beyond the length) and its score [B]."""

    tags: Tensor
    scores: Tensor


class TopK(NamedTuple):
    """The best paths: tags [B, k, T], scores [B, k], and whether there are so many [B, k]."""

    tags: Tensor
    scores: Tensor
    valid: Tensor


class LinearChainCRF:
    """p(tags) = exp(score(tags)) / Z for a batch of sentences; all in nats.

    score(y) = start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_t, y_t+1] + end[y_n]

    log Z, likelihoods and path scores can be differentiated twice; marginals, counts, entropy, cross-entropy and KL
    once (the backend ``reference``: any number of times). A sentence with no legal path has log Z = -inf, marginals
    and gradients of 0, and tags of -1. Results have the dtype of the emissions, float32 for half precision.
    The caller's tensors are never changed; what lies beyond a length is never read.

    Args:
        emissions: [B, T, C].
        transitions: From row to column: [C, C], [B, C, C], or one for every pair of neighbours [B, T-1, C, C].
        start_transitions: [C] or [B, C].
        end_transitions: [C] or [B, C].
        lengths: [B], from 1 to T; None means T for all.

    Raises:
        ValueError: Shapes do not fit together, or a length is out of range.
    """

    def __init__(
        self,
        emissions: Tensor,
        transitions: Tensor,
        start_transitions: Tensor,
        end_transitions: Tensor,
        lengths: Tensor | None = None,
        *,
        positions: Tensor | None = None,
    ) -> None:
        if lengths is None:
            lengths = torch.full(emissions.shape[:1], emissions.shape[1], device=emissions.device)
        check_chain(emissions, transitions, start_transitions, end_transitions, lengths)
        dtype = emissions.dtype
        if dtype is transitions.dtype is start_transitions.dtype is end_transitions.dtype and dtype not in _HALF:
            p = Potentials(emissions, transitions, start_transitions, end_transitions, lengths)
            self._hold(p, positions)
            return
        if dtype in _HALF:
            dtype = torch.float32
        chain = (emissions, transitions, start_transitions, end_transitions)
        self._hold(Potentials._make((*(x.to(dtype) for x in chain), lengths)), positions)

    def _hold(self, p: Potentials, positions: Tensor | None) -> None:
        self._p = p
        self._given_positions = positions
        self._answers: dict[tuple[Lazy[Any], bool], Any] = {}

    @property
    def _trainable(self) -> bool:
        p = self._p
        return p.emissions.requires_grad or p.transitions.requires_grad or p.start.requires_grad or p.end.requires_grad

    @classmethod
    def _of(cls, p: Potentials, positions: Tensor | None) -> LinearChainCRF:
        """A chain of potentials that were checked before."""
        chain = cls.__new__(cls)
        chain._hold(p, positions)
        return chain

    @property
    def emissions(self) -> Tensor:
        """[B, T, C]"""
        return self._p.emissions

    @property
    def transitions(self) -> Tensor:
        """[C, C], [B, C, C] or [B, T-1, C, C]"""
        return self._p.transitions

    @property
    def start_transitions(self) -> Tensor:
        """[C] or [B, C]"""
        return self._p.start

    @property
    def end_transitions(self) -> Tensor:
        """[C] or [B, C]"""
        return self._p.end

    @property
    def lengths(self) -> Tensor:
        """[B] int64"""
        return self._p.lengths

    @property
    def num_tags(self) -> int:
        return self._p.emissions.shape[2]

    @Lazy
    def mask(self) -> Tensor:
        """[B, T] True inside the sentences."""
        return scores.within(self._p.lengths, self._p.emissions.shape[1])

    @Lazy
    def positions(self) -> Tensor:
        """[B, T] the caller's index of each step, -1 beyond the length: differs from 0..n-1 under a mask with holes."""
        if self._given_positions is not None:
            return self._given_positions
        steps = torch.arange(self.mask.shape[1], device=self.mask.device)
        return torch.where(self.mask, steps, -1)

    @Lazy
    def _expectations(self) -> autograd.Expectations:
        return autograd.expectations(self._p)

    @Lazy
    def log_partition(self) -> Tensor:
        """log Z [B]."""
        graph = torch.is_grad_enabled() and self._trainable
        if graph or (LinearChainCRF._expectations, graph) in self._answers:
            return self._expectations.value  # a backward pass wants the expectations anyway
        return autograd.log_partition(self._p)

    @Lazy
    def marginals(self) -> Tensor:
        """p(tag c at step t) [B, T, C]; 0 beyond the length."""
        graph = torch.is_grad_enabled() and self._trainable
        if (LinearChainCRF._expectations, graph) in self._answers:
            return self._expectations.marginals
        return autograd.expectations(self._p, "none").marginals

    @Lazy
    def transition_counts(self) -> Tensor:
        """Expected number of steps from tag i to tag j [B, C, C]."""
        pairs = _known(self._expectations.pairs)
        return pairs.sum(1) if pairs.dim() == 4 else pairs

    @Lazy
    def edge_marginals(self) -> Tensor:
        """p(tag i at t and tag j at t+1) [B, T-1, C, C]; computed only when asked."""
        if self._p.by_position:
            return _known(self._expectations.pairs)
        return _known(autograd.expectations(self._p, "edges").pairs)

    @Lazy
    def _wide(self) -> LinearChainCRF:
        """The same chain in float64, where the difference of two large scores is to be exact."""
        if self._p.emissions.dtype == torch.float64:
            return self
        return LinearChainCRF._of(self._p.double(), self._given_positions)

    def double(self) -> LinearChainCRF:
        """The same chain in float64."""
        return self._wide

    @Lazy
    def entropy(self) -> Tensor:
        """Entropy of the distribution over sequences [B] = log Z - <expectations, potentials>."""
        return self._wide.cross_entropy(self._wide).to(self._p.emissions.dtype)

    def cross_entropy(self, other: LinearChainCRF) -> Tensor:
        """-sum_y p(y) log q(y) [B], over all C^n sequences, q = other; +inf where p allows what q forbids.

        Args:
            other: A chain over the same tags and lengths.
        """
        check_same(self._p, other._p)
        p, q = self._wide, other._wide
        expected = p._expectations
        pairs = _known(expected.pairs)
        if q._p.by_position and pairs.dim() == 3:
            pairs = p.edge_marginals
        score = autograd.expected_score(q._p, expected.marginals, pairs)
        return (q.log_partition - score).to(self._p.emissions.dtype)

    def kl(self, other: LinearChainCRF) -> Tensor:
        """KL(p || other) [B] = cross-entropy - entropy, computed in float64."""
        p, q = self._wide, other._wide
        return (p.cross_entropy(q) - p.entropy).to(self._p.emissions.dtype)

    def expected_score(self, marginals: Tensor, transition_counts: Tensor | None) -> Tensor:
        """The expected score under somebody else's expectations (E, N) [B].

        <E, emissions> + <N, transitions> + <E_1, start> + <E_n, end>. With it the distance to a teacher is
        ``log_partition - expected_score(E, N)``, whose gradient is the difference of the expectations.

        Args:
            marginals: [B, T, C]; what lies beyond the length is not read.
            transition_counts: [B, C, C]; [B, T-1, C, C] where the transitions depend on the position; None is 0.

        Returns:
            [B]; 0 * (-inf) counts as 0, and a mass > 0 on a score of -inf gives -inf.
        """
        p = self._p
        if p.by_position and transition_counts is not None and transition_counts.dim() == 3:
            raise ValueError(
                "transitions depend on the position, so transition_counts [B, C, C] do not determine the score; "
                f"expected edge marginals [B, T-1, C, C], got {tuple(transition_counts.shape)}"
            )
        dtype = p.emissions.dtype
        if marginals.dtype != dtype:
            marginals = marginals.to(dtype)
        if transition_counts is not None and transition_counts.dtype != dtype:
            transition_counts = transition_counts.to(dtype)
        return autograd.expected_score(p, marginals, transition_counts)

    def match(self, marginals: Tensor, transition_counts: Tensor, mass: Tensor | None = None) -> Tensor:
        """The loss of a target (E, N): mass * log Z - <E, emissions> - <N, transitions> - <E_1, start> - <E_n, end>.

        With mass 1 it is the cross-entropy to the distribution that E and N are the expectations of, and its gradient
        is the difference of the expectations. 0 * (-inf) counts as 0. One node, computed in float64.

        Args:
            marginals: E [B, T, C], 0 beyond the length; a constant.
            transition_counts: N [B, C, C], of the same distribution as E; a constant.
            mass: [B] what E sums to at each step; None is 1.

        Returns:
            [B], +inf where a mass > 0 meets a score of -inf.
        """
        p = self._p
        if p.by_position:
            raise ValueError("transitions depend on the position, so counts [B, C, C] do not determine the score")
        if mass is None:
            mass = marginals.new_ones(len(marginals))
        return autograd.match(p, mass, marginals, transition_counts)

    @Lazy
    def argmax(self) -> Argmax:
        """The best path and its score."""
        best = select(self._p.emissions.device).viterbi(self._p)
        return Argmax(best.tags.select(1, 0), best.scores.select(1, 0))

    def decode(self) -> list[list[int]]:
        """The best tags of every sentence, up to its length; -1 at every step where no path is legal."""
        return select(self._p.emissions.device).decode(self._p)

    def topk(self, k: int) -> TopK:
        """The k best paths, best first, without duplicates; tags -1 and scores -inf where there are fewer legal ones.

        Args:
            k: Number of paths, at least 1.
        """
        if k < 1:
            raise ValueError(f"topk: k must be at least 1, got {k}")
        best = select(self._p.emissions.device).topk(self._p, k)
        return TopK(best.tags, best.scores, ~torch.isneginf(best.scores))

    def score(self, tags: Tensor) -> Tensor:
        """Unnormalised scores of paths: [B, T] -> [B], [B, k, T] -> [B, k]. See ``log_prob`` for the tags."""
        found = autograd.path_scores(self._p, self._paths(tags))
        return found if tags.dim() == 3 else found[:, 0]

    def log_prob(self, tags: Tensor) -> Tensor:
        """Log-probabilities of paths: [B, T] -> [B], [B, k, T] -> [B, k].

        Args:
            tags: int64; beyond the length anything is accepted. A row of -1 is no path: -inf, with gradient 0.

        Raises:
            ValueError: -1 or a tag >= C inside a sentence.
        """
        if tags.dim() == 2:
            self._paths(tags)
            return autograd.log_likelihood(self._p, tags)
        found = self.score(tags)
        log_z = self.log_partition[:, None]
        return torch.where(torch.isneginf(found), -torch.inf, found - log_z)

    def total_log_prob(self, tags: Tensor) -> Tensor:
        """The sum of ``log_prob(tags [B, T])`` over the batch, as one node of the graph."""
        self._paths(tags)
        return autograd.log_likelihood(self._p, tags, total=True)

    def _paths(self, tags: Tensor) -> Tensor:
        """tags as [B, k, T]."""
        batch, length, _ = self._p.emissions.shape
        shape = tags.shape
        if len(shape) not in (2, 3) or shape[0] != batch or shape[-1] != length or tags.is_floating_point():
            raise ValueError(
                f"tags: expected integers [{batch}, {length}] or [{batch}, k, {length}], "
                f"got {tags.dtype} {tuple(tags.shape)}"
            )
        return tags if len(shape) == 3 else tags.unsqueeze(1)

    def log_prob_partial(self, tags: Tensor) -> Tensor:
        """Log-probability [B] of all paths that agree with tags known in part: constrained log Z - log Z.

        Args:
            tags: [B, T] int64 with -1 where the tag is unknown, or [B, T, C] bool with the tags allowed at each step.
        """
        if tags.dtype == torch.bool:
            if tags.shape != self._p.emissions.shape:
                raise ValueError(f"allowed tags: expected {tuple(self._p.emissions.shape)}, got {tuple(tags.shape)}")
            allowed = tags
        else:
            self._paths(tags)
            inside = self.mask
            if bool((((tags < -1) | (tags >= self.num_tags)) & inside).any()):
                raise ValueError(f"tags known in part must be in -1..{self.num_tags - 1} inside the sentences")
            allowed = (tags[..., None] == torch.arange(self.num_tags, device=tags.device)) | (tags[..., None] < 0)
        emissions = torch.where(allowed, self._p.emissions, -torch.inf)
        clamped = autograd.log_partition(self._p._replace(emissions=emissions))
        return torch.where(torch.isneginf(clamped), -torch.inf, clamped - self.log_partition)

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """n exact samples [B, n, T] int64; -1 beyond the length."""
        p = self._p
        batch, length = p.emissions.shape[:2]
        device = p.emissions.device
        uniforms = torch.rand(batch, n, length, dtype=torch.float64, device=device, generator=generator)
        return select(device).sample(p, uniforms)

    def tempered(self, temperature: float) -> LinearChainCRF:
        """The chain with every potential divided by a temperature."""
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        chain = Potentials._make((*(x / temperature for x in self._p[:4]), self._p.lengths))
        return LinearChainCRF._of(chain, self._given_positions)

    def condition(self, legal: LegalTransitions) -> LinearChainCRF:
        """The distribution given that only legal starts, pairs and ends occur: the others get -inf."""
        p = self._p
        return LinearChainCRF._of(
            Potentials(
                p.emissions,
                p.transitions.masked_fill(~legal.transitions.to(p.transitions.device), -torch.inf),
                p.start.masked_fill(~legal.start.to(p.start.device), -torch.inf),
                p.end.masked_fill(~legal.end.to(p.end.device), -torch.inf),
                p.lengths,
            ),
            self._given_positions,
        )


def _known(pairs: Tensor | None) -> Tensor:
    """The pairs that were asked for."""
    assert pairs is not None
    return pairs
