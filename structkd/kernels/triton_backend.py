"""The Triton kernels behind the interface of a backend.

They have run in Triton's interpreter and have been compiled for sm_90. They have never run on a GPU.

Launches of a question: expectations and likelihoods 3 (sweep, expect, repair) and a sum of partial counts, their
derivative the same, Viterbi 1, k best 2, samples 2. Nothing waits for the device, except that a likelihood of given
tags reads one flag at the end to raise ValueError where they are no path.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from structkd.kernels import scores
from structkd.kernels.interface import Backend, Expectations, Pairs, Paths, Potentials
from structkd.kernels.scaled import Scaled

# The transitions stay in the registers of one program: 128 x 128 in float64 are half of a multiprocessor's, and the
# kernels that keep a second matrix beside it spill. With more tags, the backend ``torch`` answers.
_MOST_TAGS = 128
# A few programs for each multiprocessor, when steps are shared out.
_PROGRAMS = 528
# Warps of a program, by the padded number of tags.
WARPS = {16: 1, 32: 4, 64: 8, 128: 16}
# Multiply and add in one instruction, whatever the default of this version of Triton.
_FUSED = {"enable_fp_fusion": True}


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _guard(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


class _Chain:
    """Potentials as the kernels take them: contiguous tensors, and the strides of what may be shared."""

    def __init__(self, p: Potentials) -> None:
        batch, length, tags = p.emissions.shape
        self.shape = batch, length
        self.e = p.emissions.contiguous()
        self.a, self.a_b, self.a_t = _matrices(p.transitions, self.e, length)
        self.start, self.end, self.lengths = p.start.contiguous(), p.end.contiguous(), p.lengths.contiguous()
        self.start_b = tags if p.start.dim() == 2 else 0
        self.end_b = tags if p.end.dim() == 2 else 0
        padded = max(16, 1 << (tags - 1).bit_length())
        self.sizes = {"C": tags, "P": padded}
        self.options = {"num_warps": WARPS[padded], **_FUSED}
        self.tensors = self.e, self.a, self.start, self.end
        self.span = max(4, -(-batch * length // _PROGRAMS))
        self.chunks = -(-length // self.span)

    def workspace(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float64, device=self.e.device)


def _matrices(x: Tensor, e: Tensor, length: int) -> tuple[Tensor, int, int]:
    """Matrices [C, C], [B, C, C] or [B, T-1, C, C], and their strides over sentences and steps."""
    cells = x.shape[-1] ** 2
    if x.dim() == 4 and length == 1:
        return e, 0, 0  # there are none, but an address is wanted
    x = x.contiguous()
    return x, cells * (length - 1 if x.dim() == 4 else 1) if x.dim() > 2 else 0, cells if x.dim() == 4 else 0


class Triton(Backend):
    """Triton on a CUDA device: float64 inside, a program for a sentence and a direction; no atomics."""

    name = "triton"

    def unavailable(self) -> str | None:
        if find_spec("triton") is None:
            return "Triton is not installed; pip install triton"
        if not torch.cuda.is_available() and not _interpreted():
            return "there is no CUDA device (for tests, TRITON_INTERPRET=1 interprets the kernels on the CPU)"
        return None

    def runs_on(self, device: torch.device) -> bool:
        return device.type == ("cpu" if _interpreted() else "cuda")

    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().expectations(p, pairs)
        value, marginals, found, _ = self._infer(p, pairs)
        return Expectations(value, marginals, found)

    def log_likelihood(self, p: Potentials, tags: Tensor) -> Expectations:
        if p.emissions.shape[2] > _MOST_TAGS:
            return super().log_likelihood(p, tags)
        value, marginals, counts, bad = self._infer(p, "counts", tags=tags.long().contiguous())
        if bad.any():
            scores.refuse_tags(int(bad.nonzero()[0]))
        return Expectations(value, marginals, counts)

    def directional(
        self, p: Potentials, unary: Tensor | None, pairs: Tensor | None, state: Any = None
    ) -> tuple[Tensor, Tensor]:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().directional(p, unary, pairs)
        if unary is None:
            unary = p.emissions.new_zeros(p.emissions.shape[2])
        _, marginals, counts, _ = self._infer(p, "counts", unary=unary.contiguous(), pairs=pairs)
        assert counts is not None
        return marginals, counts

    def _infer(
        self,
        p: Potentials,
        wanted: Pairs,
        *,
        tags: Tensor | None = None,
        unary: Tensor | None = None,
        pairs: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """A function, its derivatives or, along (unary, pairs), the derivatives of these; and marks of bad tags."""
        from structkd.kernels.triton_expect import expect, repair
        from structkd.kernels.triton_sweep import sweep

        c = _Chain(p)
        batch, length, num_tags = p.emissions.shape
        e = c.e
        u = e if unary is None else unary
        u_b, u_t = (length * num_tags, num_tags) if u.dim() == 3 else (0, 0)
        v, v_b, v_t = (c.a, 0, 0) if pairs is None else _matrices(pairs, e, length)
        kind = {
            "VARY": p.by_position or (pairs is not None and pairs.dim() == 4),
            "DUAL": unary is not None,
            "PAIRS": pairs is not None,
        }
        edges = wanted == "edges" or (wanted == "counts" and p.by_position)
        goal = {"GOLD": tags is not None, "COUNTS": wanted == "counts" and not edges, "EDGES": edges}
        state = c.workspace(5 if unary is None else 8, batch, length, num_tags)
        scale = c.workspace(batch)
        value = e.new_empty(batch)
        found = e.new_empty(e.shape)
        # One block of steps writes its counts where they belong; several are added up afterwards.
        shape = (batch, length - 1 if edges else c.chunks, num_tags, num_tags)
        counts = value if wanted == "none" else e.new_empty(shape) if edges or c.chunks == 1 else c.workspace(*shape)
        flags = torch.empty((batch, c.chunks + 2), dtype=torch.int32, device=e.device)
        bad = torch.empty(batch, dtype=torch.int32, device=e.device)
        results = (state, scale, p.lengths if tags is None else tags, value, found, counts, flags, bad)
        strides = (c.a_b, c.a_t, c.start_b, c.end_b)
        chain = (*c.tensors, u, v, c.lengths)
        directions = (u_b, u_t, v_b, v_t)
        shares = (*c.shape, c.span, c.chunks, *strides)
        with _guard(e.device):
            sweep[(batch, 2)](
                *chain,
                state,
                scale,
                flags,
                *c.shape,
                c.chunks + 2,
                *strides,
                *directions,
                0,
                **c.sizes,
                LOG=False,
                **kind,
                **c.options,
            )
            expect[(batch, c.chunks)](*chain, *results, *shares, v_b, v_t, **c.sizes, **kind, **goal, **c.options)
            repair[(batch,)](*chain, *results, *shares, *directions, **c.sizes, **kind, **goal, **c.options)
        if wanted == "none":
            return value, found, None, bad
        return value, found, counts if edges else counts.sum(1).to(e.dtype), bad

    def topk(self, p: Potentials, k: int) -> Paths:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().topk(p, k)
        from structkd.kernels.triton_paths import deviate, viterbi

        c = _Chain(p)
        batch, length, num_tags = p.emissions.shape
        device = c.e.device
        tags = torch.full((batch, k, length), -1, dtype=torch.int64, device=device)
        found = torch.full((batch, k), -torch.inf, dtype=torch.float64, device=device)
        pointers = torch.empty((batch, length, num_tags), dtype=torch.int32, device=device)
        onward = c.workspace(batch, length, num_tags) if k > 1 else found
        with _guard(device):
            viterbi[(batch,)](
                *c.tensors, c.lengths, onward, pointers, tags, found, length, c.a_b, c.a_t, c.start_b, c.end_b,
                k * length, k, 1, **c.sizes, VARY=p.by_position, KEEP=k > 1, **c.options,
            )  # fmt: skip
            if k > 1:
                offers = c.workspace(batch, k, length)
                choices = torch.empty((batch, k, length), dtype=torch.int32, device=device)
                deviate[(batch,)](
                    c.e, c.a, c.start, c.lengths, onward, pointers, tags, found, offers, choices, length, k,
                    c.a_b, c.a_t, c.start_b, **c.sizes, STEPS=1024 // c.sizes["P"], **_FUSED,
                )  # fmt: skip
        return Paths(tags, found.to(c.e.dtype))

    def sample(self, p: Potentials, uniforms: Tensor) -> Tensor:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().sample(p, uniforms)
        from structkd.kernels.triton_paths import draw
        from structkd.kernels.triton_sweep import sweep

        c = _Chain(p)
        batch, length, num_tags = p.emissions.shape
        uniforms = uniforms.double().contiguous()
        tags = torch.full(uniforms.shape, -1, dtype=torch.int64, device=c.e.device)
        state = c.workspace(5, batch, length, num_tags)
        strides = (c.a_b, c.a_t, c.start_b, c.end_b)
        with _guard(c.e.device):
            sweep[(batch, 1)](
                *c.tensors, c.e, c.a, c.lengths, state, state, tags, *c.shape, 0, *strides, 0, 0, 0, 0, 1, **c.sizes,
                LOG=True, VARY=p.by_position, DUAL=False, PAIRS=False, **c.options,
            )  # fmt: skip
            draw[(batch, -(-uniforms.shape[1] // 16))](
                c.a, c.start, c.lengths, state[2], uniforms, tags, length, uniforms.shape[1], c.a_b, c.a_t, c.start_b,
                **c.sizes, DRAWS=16, **_FUSED,
            )  # fmt: skip
        return tags

    def path_counts(self, tags: Tensor, weights: Tensor, p: Potentials) -> tuple[Tensor, Tensor]:
        """Without the atomic additions of ``scatter_add`` on a GPU, whose order is not fixed."""
        if p.emissions.shape[2] > _MOST_TAGS:
            return super().path_counts(tags, weights, p)
        from structkd.kernels.triton_paths import count

        c = _Chain(p)
        batch, length, num_tags = p.emissions.shape
        unary = weights.new_empty(p.emissions.shape)
        shape = (batch, length - 1 if p.by_position else c.chunks, num_tags, num_tags)
        pairs = weights.new_empty(shape) if p.by_position else c.workspace(*shape)
        with _guard(c.e.device):
            count[(batch, c.chunks)](
                tags.long().contiguous(), weights.contiguous(), c.lengths, unary, pairs, length, tags.shape[1],
                c.span, c.chunks, **c.sizes, EDGES=p.by_position, **c.options,
            )  # fmt: skip
        return unary, pairs if p.by_position else pairs.sum(1).to(weights.dtype)
