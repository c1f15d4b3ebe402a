"""Random chains for the tests of the kernels and of the CRF."""

from __future__ import annotations

import torch
from torch import Tensor

from structkd.crf import LinearChainCRF

KINDS = ("shared", "by_sentence", "by_position")


def potentials(
    batch: int = 3,
    length: int = 4,
    tags: int = 3,
    kind: str = "shared",
    *,
    dtype: torch.dtype = torch.float64,
    scale: float = 2.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Emissions, transitions, start, end; start by sentence unless everything is shared."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    shape = {"shared": (), "by_sentence": (batch,), "by_position": (batch, length - 1)}[kind]
    ends = (tags,) if kind == "shared" else (batch, tags)
    return draw(batch, length, tags), draw(*shape, tags, tags), draw(*ends), draw(tags)


def ragged(batch: int, length: int) -> Tensor:
    """Lengths from 1 to the longest; the first sentence is the longest."""
    return torch.tensor([max(1, length - (b * length) // batch) for b in range(batch)])


def chain(*args: int, lengths: Tensor | None = None, **kwargs: object) -> LinearChainCRF:
    """A random chain with ragged lengths."""
    e, a, s, t = potentials(*args, **kwargs)  # type: ignore[arg-type]
    return LinearChainCRF(e, a, s, t, ragged(e.shape[0], e.shape[1]) if lengths is None else lengths)
