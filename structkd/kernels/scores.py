"""Scores of given paths and of given expectations, in differentiable PyTorch.

Both are linear in the potentials: score = <potentials, counts>. ``path_counts`` and ``weigh`` are the adjoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from structkd.kernels.interface import Potentials


def within(lengths: Tensor, length: int) -> Tensor:
    """[B, length] True at the steps of each sentence."""
    return torch.arange(length, device=lengths.device) < lengths[:, None]


def beyond(lengths: Tensor, length: int) -> Tensor:
    """[B, length] True at the steps behind each sentence."""
    return torch.arange(length, device=lengths.device) >= lengths[:, None]


def refuse_tags(sentence: int) -> None:
    """Raise the one error for tags that are no path."""
    raise ValueError(
        f"tags of sentence {sentence}: every tag inside the sentence must be in 0..C-1; -1 is allowed beyond the "
        "length, or at every step to say that there is no path. For tags that are partly unknown use log_prob_partial."
    )


def check_tags(tags: Tensor, lengths: Tensor, num_tags: int) -> None:
    """Raise ValueError unless each of tags [B, k, T] is a path, or -1 at every step."""
    low, high = torch.aminmax(tags)
    if low.item() >= 0 and high.item() < num_tags:
        return
    inside = within(lengths, tags.shape[2])[:, None]
    known = ((tags >= 0) & (tags < num_tags)) | ~inside
    absent = (tags == -1) | ~inside
    bad = ~(known.all(-1) | absent.all(-1)).all(-1)
    if bad.any():
        refuse_tags(int(bad.nonzero()[0]))


class PathIndex(NamedTuple):
    """Where paths are in the potentials."""

    tags: Tensor  # [B, k, T] safe to index with
    idle: Tensor  # [B, k, T] the steps that do not count
    flat: Tensor  # [B, k, T-1] pairs as numbers
    last: Tensor  # [B, k]


def index_of(p: Potentials, tags: Tensor) -> PathIndex:
    """Where paths [B, k, T] are in the potentials."""
    length = p.emissions.shape[1]
    idle = beyond(p.lengths, length)[:, None] | (tags[..., :1] < 0)
    safe = tags.masked_fill(idle, 0)
    last = safe.gather(2, (p.lengths - 1)[:, None, None].expand(-1, tags.shape[1], 1))[..., 0]
    return PathIndex(safe, idle, safe[..., :-1] * p.emissions.shape[2] + safe[..., 1:], last)


def path_scores(p: Potentials, tags: Tensor) -> Tensor:
    """Unnormalised scores [B, k] of paths [B, k, T], summed in float64; -inf for a path of -1."""
    return torch.where(tags[..., 0] >= 0, indexed_scores(p, index_of(p, tags)), -torch.inf)


def indexed_scores(p: Potentials, index: PathIndex) -> Tensor:
    """Scores [B, k] of paths, in float64; not a number to be used where a path is -1."""
    safe, idle, flat, last = index
    unary = p.emissions.gather(2, safe.transpose(1, 2)).transpose(1, 2)
    score = unary.masked_fill(idle, 0).sum(-1, dtype=torch.float64)
    if p.by_position:
        binary = p.transitions.flatten(2).gather(2, flat.transpose(1, 2)).transpose(1, 2)
    elif p.transitions.dim() == 3:
        binary = p.transitions.flatten(1).gather(1, flat.flatten(1)).view_as(flat)
    else:
        binary = p.transitions.reshape(-1)[flat]
    score = score + binary.masked_fill(idle[..., 1:], 0).sum(-1, dtype=torch.float64)
    first = safe[..., 0]
    score = score + (p.start[first] if p.start.dim() == 1 else p.start.gather(1, first))
    return score + (p.end[last] if p.end.dim() == 1 else p.end.gather(1, last))


def path_counts(tags: Tensor, weights: Tensor, p: Potentials) -> tuple[Tensor, Tensor]:
    """Tag counts [B, T, C] and pair counts ([B, C, C], or by position) of paths [B, k, T], weighted [B, k]."""
    batch, length, num_tags = p.emissions.shape
    unary = weights.new_zeros(batch, length, num_tags)
    pairs = weights.new_zeros(batch, *([length - 1] if p.by_position else []), num_tags, num_tags)
    add_path_counts(index_of(p, tags), weights, p, unary, pairs)
    return unary, pairs


def add_path_counts(index: PathIndex, weights: Tensor, p: Potentials, unary: Tensor, pairs: Tensor) -> None:
    """Add the weighted counts of paths to contiguous tensors of their shape."""
    safe, idle, flat, _ = index
    mass = weights[..., None].masked_fill(idle, 0)
    unary.scatter_add_(2, safe.transpose(1, 2), mass.transpose(1, 2))
    mass = mass[..., 1:]
    if p.by_position:
        pairs.flatten(2).scatter_add_(2, flat.transpose(1, 2), mass.transpose(1, 2))
    else:
        pairs.view(len(pairs), -1).scatter_add_(1, flat.flatten(1), mass.flatten(1))


def ends(unary: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last step [B, C] of [B, T, C]."""
    return unary[:, 0], unary[torch.arange(len(lengths), device=lengths.device), lengths - 1]


def _product(mass: Tensor, potential: Tensor) -> Tensor:
    """mass * potential with 0 * (-inf) = 0, and with a derivative of 0 there."""
    impossible = (mass == 0) & torch.isneginf(potential)
    return torch.where(impossible, 0, mass) * torch.where(impossible, 0, potential)


def expected_score(p: Potentials, marginals: Tensor, pairs: Tensor | None) -> Tensor:
    """<marginals, emissions> + <pairs, transitions> + the ends [B]; -inf where mass meets -inf."""
    inside = within(p.lengths, p.emissions.shape[1])[..., None]
    marginals = torch.where(inside, marginals, 0)
    first, last = ends(marginals, p.lengths)
    score = _product(marginals, torch.where(inside, p.emissions, 0)).flatten(1).sum(1)
    score = score + _product(first, p.start).sum(1) + _product(last, p.end).sum(1)
    if pairs is None:
        return score
    if pairs.dim() == 4:
        transitions = p.transitions[:, None] if p.transitions.dim() == 3 else p.transitions
        inside = within(p.lengths - 1, pairs.shape[1])[..., None, None]
        pairs = torch.where(inside, pairs, 0)
        return score + _product(pairs, torch.where(inside, transitions, 0)).flatten(1).sum(1)
    return score + _product(pairs, p.transitions).flatten(1).sum(1)


def by_mass(weights: Tensor, p: Potentials, marginals: Tensor, pairs: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The derivative of weights [B] times ``expected_score`` by marginals and pairs: the potentials themselves."""

    def potential(mass: Tensor, value: Tensor, inside: Tensor | None = None) -> Tensor:
        lost = (mass == 0) & torch.isneginf(value)
        return torch.where(lost if inside is None else lost | ~inside, 0, value)

    first, last = ends(marginals, p.lengths)
    batch = torch.arange(len(weights), device=weights.device)
    unary = potential(marginals, p.emissions, within(p.lengths, marginals.shape[1])[..., None])
    unary = unary.index_put((batch, torch.zeros_like(batch)), potential(first, p.start), accumulate=True)
    unary = unary.index_put((batch, p.lengths - 1), potential(last, p.end), accumulate=True)
    unary = weights[:, None, None] * unary
    if pairs is None:
        return unary, None
    if pairs.dim() == 3:
        return unary, weights[:, None, None] * potential(pairs, p.transitions)
    transitions = p.transitions[:, None] if p.transitions.dim() == 3 else p.transitions
    inside = within(p.lengths - 1, pairs.shape[1])[..., None, None]
    return unary, weights[:, None, None, None] * potential(pairs, transitions, inside)


def weigh(weights: Tensor | None, unary: Tensor, pairs: Tensor | None, p: Potentials) -> tuple[Tensor | None, ...]:
    """weights [B] times expectations, summed into the shapes of emissions, transitions, start and end; None is 1."""
    if weights is None:
        weights = unary.new_ones(len(unary))
    if pairs is not None and pairs.dim() == 4 and not p.by_position:
        pairs = pairs.sum(1)
    first, last = ends(unary, p.lengths)
    return (
        (weights[:, None, None] * unary).masked_fill_(beyond(p.lengths, unary.shape[1])[..., None], 0),
        None if pairs is None else _weighted(weights, pairs, p.transitions.dim() == 2),
        _weighted(weights, first, p.start.dim() == 1),
        _weighted(weights, last, p.end.dim() == 1),
    )


def _weighted(weights: Tensor, values: Tensor, shared: bool) -> Tensor:
    """weights [B] times values [B, ...]; summed over the batch if the potential is shared."""
    product = (weights @ values.flatten(1)) if shared else weights[:, None] * values.flatten(1)
    return product.view(values.shape[1:] if shared else values.shape)
