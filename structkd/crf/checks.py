"""Checks at the door: what comes in fits together, once and for all."""

from __future__ import annotations

import torch
from torch import Tensor

from structkd.kernels import Potentials, select


def check_chain(emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, lengths: Tensor) -> None:
    """Raise ValueError unless these are the potentials of a batch of chains."""
    shape = emissions.shape
    if len(shape) != 3 or not emissions.is_floating_point() or 0 in shape:
        raise ValueError(f"emissions: expected floats [B, T, C], got {emissions.dtype} {tuple(shape)}")
    b, t, c = shape
    if transitions.shape not in ((c, c), (b, c, c), (b, t - 1, c, c)):
        raise ValueError(
            f"transitions: expected [{c}, {c}], [{b}, {c}, {c}] or [{b}, {t - 1}, {c}, {c}] for emissions "
            f"{(b, t, c)}, got {tuple(transitions.shape)}"
        )
    for name, x in (("start_transitions", start), ("end_transitions", end)):
        if x.shape not in ((c,), (b, c)):
            raise ValueError(f"{name}: expected [{c}] or [{b}, {c}], got {tuple(x.shape)}")
    if lengths.shape != (b,) or lengths.dtype is not torch.int64:
        raise ValueError(f"lengths: expected int64 [{b}], got {lengths.dtype} {tuple(lengths.shape)}")
    if not select(emissions.device).are_lengths(lengths, t):
        raise ValueError(f"lengths must be in 1..{t}, got {lengths.tolist()}")


def check_same(p: Potentials, q: Potentials) -> None:
    """Raise ValueError unless two batches of chains are over the same steps and tags."""
    same = p.lengths is q.lengths or torch.equal(p.lengths, q.lengths)
    if p.emissions.shape != q.emissions.shape or not same:
        raise ValueError(
            f"both chains must have the same shape and lengths, got {tuple(p.emissions.shape)} and "
            f"{tuple(q.emissions.shape)} with lengths {p.lengths.tolist()} and {q.lengths.tolist()}"
        )
