"""Targets: what a student is asked to match, as expected counts of tags and of tag pairs.

Gold tags, k-best lists and a teacher's full distribution all become the same pair (E, N), and one loss serves them
all: log Z - <E, emissions> - <N, transitions> (METHODS section 2, "One loss"). E and N must come from one
distribution, otherwise that loss has no lower bound; `inconsistency` measures it and `reconcile` mends rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from structkd.errors import DataError


class Targets(NamedTuple):
    """Expected counts under a distribution over tag sequences.

    marginals: [B, T, C] expected tag of each word, E; 0 beyond the length.
    transition_counts: [B, C, C] expected tag pairs summed over positions, N.
    """

    marginals: Tensor
    transition_counts: Tensor

    def weighted(self, weight: Tensor) -> Targets:
        """Both parts times a weight [B]."""
        return Targets(self.marginals * weight[:, None, None], self.transition_counts * weight[:, None, None])

    def mixed(self, other: Targets, weight: Tensor) -> Targets:
        """The mixture with a weight [B] for the other one and 1 - weight for this one."""
        w = weight[:, None, None]
        return Targets(*(torch.lerp(a, b, w) for a, b in zip(self, other, strict=True)))

    def plus(self, other: Targets) -> Targets:
        """The sum of both parts: with weights that sum to 1, the counts of the mixture."""
        return Targets(self.marginals + other.marginals, self.transition_counts + other.transition_counts)


def gold_targets(tags: Tensor, num_tags: int) -> Targets:
    """Counts of one tag sequence.

    Args:
        tags: [B, T], -1 beyond the length; a row of -1 (no gold tags) gives zeros.
    """
    return path_targets(tags.unsqueeze(1), torch.ones_like(tags[:, :1], dtype=torch.float32), num_tags)


def path_targets(paths: Tensor, weights: Tensor, num_tags: int) -> Targets:
    """Weighted counts of k tag sequences: uniform weights give Top-K, renormalised probabilities Top-WK.

    Args:
        paths: [B, k, T] tags, -1 beyond the length and in missing paths.
        weights: [B, k], 0 for missing paths; they sum to 1.

    References:
        Wang et al., ACL 2020, equations 8 and 9 (https://arxiv.org/abs/2004.03846).
    """
    batch, k, length = paths.shape
    # Tag C collects padding and is cut off again: a scatter without conditions.
    indices = torch.where(paths >= 0, paths, num_tags)
    marginals = weights.new_zeros(batch, length, num_tags + 1)
    marginals.scatter_add_(2, indices.transpose(1, 2), weights[:, None, :].expand(batch, length, k))
    cells = indices[:, :, :-1] * (num_tags + 1) + indices[:, :, 1:]
    counts = weights.new_zeros(batch, (num_tags + 1) ** 2)
    counts.scatter_add_(1, cells.flatten(1), weights[:, :, None].expand_as(cells).flatten(1))
    counts = counts.view(batch, num_tags + 1, num_tags + 1)[:, :num_tags, :num_tags]
    return Targets(marginals[..., :num_tags], counts)


def inconsistency(targets: Targets, lengths: Tensor) -> Tensor:
    """Largest difference [B] between the row and column sums of N and the sums of E that they must equal."""
    before, after = _pair_margins(targets.marginals, lengths)
    rows = (targets.transition_counts.sum(2) - before).abs().amax(1)
    columns = (targets.transition_counts.sum(1) - after).abs().amax(1)
    return torch.maximum(rows, columns)


def reconcile(targets: Targets, lengths: Tensor, *, iterations: int = 4, tolerance: float = 1e-5) -> Targets:
    """Mend rounding: E sums to 1 at each word, N is scaled until its margins are those of E (Sinkhorn).

    Zeros stay zeros, so that what the teacher forbids stays forbidden.

    Args:
        iterations: at most so many; what float16 left shrinks several times in each.
        tolerance: largest difference between margins that is good enough, in words.

    Raises:
        DataError: E and N are still further apart than 1e-3: they are not of one distribution, and a loss on them
            would have no lower bound.
    """
    total = targets.marginals.sum(-1, keepdim=True)
    marginals = targets.marginals / torch.where(total > 0, total, 1)
    before, after = _pair_margins(marginals, lengths)
    counts = targets.transition_counts
    for _ in range(iterations):
        rows = counts.sum(2)
        if (rows - before).abs().max() <= tolerance and (counts.sum(1) - after).abs().max() <= tolerance:
            break
        counts = counts * _ratio(before, rows).unsqueeze(2)
        counts = counts * _ratio(after, counts.sum(1)).unsqueeze(1)
    mended = Targets(marginals, counts)
    worst, row = inconsistency(mended, lengths).max(0)
    if worst > 1e-3:
        raise DataError(
            f"targets of sentence {int(row)} of the batch: marginals and transition counts differ by "
            f"{float(worst):.2g} after rounding was mended, expected at most 1e-3; they must be of one distribution"
        )
    return mended


def _pair_margins(marginals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Sums [B, C] of E over all words but the last, and over all words but the first."""
    total = marginals.sum(1)
    last = marginals[torch.arange(len(lengths), device=lengths.device), lengths - 1]
    return total - last, total - marginals[:, 0]


def _ratio(wanted: Tensor, present: Tensor) -> Tensor:
    """wanted / present; 1 where nothing is present, since nothing can be scaled there."""
    empty = present <= 0
    return torch.where(empty, 1, wanted.clamp(min=0) / torch.where(empty, 1, present))
