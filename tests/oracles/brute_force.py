"""The truth by enumeration: all C^n paths of every sentence, with the questions of ``LinearChainCRF``.

Only for tiny chains. Everything is an ordinary float64 PyTorch expression, so it can be differentiated any number of
times.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from structkd.crf import Argmax, TopK


class BruteForceCRF:
    """See ``structkd.crf.LinearChainCRF`` for the arguments and the answers."""

    def __init__(
        self,
        emissions: Tensor,
        transitions: Tensor,
        start_transitions: Tensor,
        end_transitions: Tensor,
        lengths: Tensor | None = None,
    ) -> None:
        batch, length, num_tags = emissions.shape
        self.emissions = emissions.double()
        transitions = transitions.double()
        if transitions.dim() < 4:
            transitions = transitions.unsqueeze(-3).expand(batch, max(length - 1, 0), num_tags, num_tags)
        self.transitions = transitions
        self.start_transitions = start_transitions.double().expand(batch, num_tags)
        self.end_transitions = end_transitions.double().expand(batch, num_tags)
        self.lengths = torch.full((batch,), length) if lengths is None else lengths
        self.num_tags = num_tags
        self.mask = torch.arange(length) < self.lengths[:, None]
        self._paths = [
            torch.tensor(list(itertools.product(range(num_tags), repeat=int(n)))) for n in self.lengths
        ]  # of [C^n, n]

    def _score(self, b: int, paths: Tensor) -> Tensor:
        """Scores of paths [m, n] of sentence b, summed up word by word."""
        n = paths.shape[1]
        total = self.start_transitions[b][paths[:, 0]] + self.end_transitions[b][paths[:, -1]]
        for t in range(n):
            total = total + self.emissions[b, t][paths[:, t]]
        for t in range(n - 1):
            total = total + self.transitions[b, t][paths[:, t], paths[:, t + 1]]
        return total

    def _scores(self) -> list[Tensor]:
        return [self._score(b, paths) for b, paths in enumerate(self._paths)]

    def _log_z(self, scores: Tensor) -> Tensor:
        legal = scores[~torch.isneginf(scores)]
        return legal.logsumexp(0) if len(legal) else scores.new_tensor(-torch.inf)

    @property
    def log_partition(self) -> Tensor:
        return torch.stack([self._log_z(s) for s in self._scores()])

    def _probabilities(self) -> list[Tensor]:
        """p(path) [C^n] of every sentence; all 0 where no path is legal."""
        found = []
        for scores in self._scores():
            legal = ~torch.isneginf(scores)
            p = torch.zeros_like(scores)
            if legal.any():
                p = p.masked_scatter(legal, scores[legal].softmax(0))
            found.append(p)
        return found

    @property
    def marginals(self) -> Tensor:
        rows = []
        for paths, p in zip(self._paths, self._probabilities(), strict=True):
            onehot = torch.nn.functional.one_hot(paths, self.num_tags).double()  # [m, n, C]
            q = torch.einsum("m,mtc->tc", p, onehot)
            rows.append(torch.nn.functional.pad(q, (0, 0, 0, self.emissions.shape[1] - len(q))))
        return torch.stack(rows)

    @property
    def edge_marginals(self) -> Tensor:
        rows = []
        for paths, p in zip(self._paths, self._probabilities(), strict=True):
            onehot = torch.nn.functional.one_hot(paths, self.num_tags).double()
            q = torch.einsum("m,mti,mtj->tij", p, onehot[:, :-1], onehot[:, 1:])
            rows.append(torch.nn.functional.pad(q, (0, 0, 0, 0, 0, self.emissions.shape[1] - 1 - len(q))))
        return torch.stack(rows)

    @property
    def transition_counts(self) -> Tensor:
        return self.edge_marginals.sum(1)

    @property
    def entropy(self) -> Tensor:
        return self.cross_entropy(self)

    def cross_entropy(self, other: BruteForceCRF) -> Tensor:
        rows = []
        for b, (paths, p) in enumerate(zip(self._paths, self._probabilities(), strict=True)):
            scores = other._score(b, paths)
            log_q = scores - other._log_z(scores)
            some = p > 0
            rows.append(-(p[some] * log_q[some]).sum())
        return torch.stack(rows)

    def kl(self, other: BruteForceCRF) -> Tensor:
        return self.cross_entropy(other) - self.entropy

    def expected_score(self, marginals: Tensor, transition_counts: Tensor | None) -> Tensor:
        rows = []
        for b, n in enumerate(self.lengths.tolist()):
            terms = [
                (marginals[b, :n], self.emissions[b, :n]),
                (marginals[b, 0], self.start_transitions[b]),
                (marginals[b, n - 1], self.end_transitions[b]),
            ]
            if transition_counts is not None and n > 1:
                by_position = transition_counts.dim() == 4
                where = slice(0, n - 1) if by_position else 0
                counts = transition_counts[b, where] if by_position else transition_counts[b]
                terms.append((counts, self.transitions[b, where]))
            rows.append(sum((m[m != 0] * x[m != 0]).sum() for m, x in terms))
        return torch.stack(rows)

    @property
    def argmax(self) -> Argmax:
        best = self.topk(1)
        return Argmax(best.tags[:, 0], best.scores[:, 0])

    def topk(self, k: int) -> TopK:
        batch, length = self.mask.shape
        tags = torch.full((batch, k, length), -1)
        found = torch.full((batch, k), -torch.inf, dtype=torch.float64)
        for b, (paths, scores) in enumerate(zip(self._paths, self._scores(), strict=True)):
            order = scores.argsort(descending=True, stable=True)[:k]
            order = order[~torch.isneginf(scores[order])]
            found[b, : len(order)] = scores[order]
            tags[b, : len(order), : paths.shape[1]] = paths[order]
        return TopK(tags, found, ~torch.isneginf(found))

    def score(self, tags: Tensor) -> Tensor:
        paths = tags if tags.dim() == 3 else tags[:, None]
        rows = []
        for b, n in enumerate(self.lengths.tolist()):
            absent = paths[b, :, 0] < 0
            row = self._score(b, paths[b, :, :n].masked_fill(absent[:, None], 0))
            rows.append(torch.where(absent, -torch.inf, row))
        found = torch.stack(rows)
        return found if tags.dim() == 3 else found[:, 0]

    def log_prob(self, tags: Tensor) -> Tensor:
        found, log_z = self.score(tags), self.log_partition
        return torch.where(torch.isneginf(found), -torch.inf, found - (log_z[:, None] if tags.dim() == 3 else log_z))

    def log_prob_partial(self, tags: Tensor) -> Tensor:
        rows = []
        for b, (paths, scores) in enumerate(zip(self._paths, self._scores(), strict=True)):
            known = tags[b, : paths.shape[1]]
            agree = ((paths == known) | (known < 0)).all(1)
            rows.append(self._log_z(scores[agree]) - self._log_z(scores))
        return torch.stack(rows)

    def tempered(self, temperature: float) -> BruteForceCRF:
        chain = (self.emissions, self.transitions, self.start_transitions, self.end_transitions)
        return BruteForceCRF(*(x / temperature for x in chain), self.lengths)
