"""The Triton kernels behind the interface of a backend.

Launches of a question: expectations and likelihoods 3 (sweep, expect, finish), their derivative the same, Viterbi 1,
k best 2, samples 2, a mask 1, weighted sums 1. Nothing waits for the device, but for what the host must know: whether
a mask has holes, whether given tags are a path (ValueError if not), and best paths as lists.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from structkd.kernels import scores
from structkd.kernels.interface import Backend, Expectations, MaskFacts, Pairs, Paths, Potentials
from structkd.kernels.scaled import Scaled
from structkd.kernels.triton_launch import Chain, interpreted, launch, matrices

# The transitions stay in the registers of one program: 128 x 128 in float64 are half of a multiprocessor's, and the
# kernels that keep a second matrix beside it spill. With more tags, the backend ``torch`` answers.
_MOST_TAGS = 128
_LONGEST = 127 * 128  # steps, where the host reads tags as bytes


class Triton(Backend):
    """Triton on a CUDA device: float64 inside, a program for a sentence and a direction; no atomics."""

    name = "triton"
    decodes_masked = True

    def unavailable(self) -> str | None:
        if find_spec("triton") is None:
            return "Triton is not installed; pip install triton"
        if not torch.cuda.is_available() and not interpreted():
            return "there is no CUDA device (for tests, TRITON_INTERPRET=1 interprets the kernels on the CPU)"
        return None if interpreted() else _fault()

    def runs_on(self, device: torch.device) -> bool:
        return device.type == ("cpu" if interpreted() else "cuda")

    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().expectations(p, pairs)
        value, marginals, found, _ = self._infer(p, pairs)
        return Expectations(value, marginals, found)

    def log_likelihood(self, p: Potentials, tags: Tensor) -> Expectations:
        if p.emissions.shape[2] > _MOST_TAGS:
            return super().log_likelihood(p, tags)
        value, marginals, counts, marks = self._infer(p, "counts", tags=tags.long().contiguous())
        bad = marks[: len(tags)].tolist()
        if any(bad):
            scores.refuse_tags(bad.index(1))
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
        """A function, its derivatives or, along (unary, pairs), the derivatives of these; and the marks."""
        from structkd.kernels.triton_expect import expect, finish
        from structkd.kernels.triton_sweep import sweep

        c = Chain(p)
        batch, length, num_tags = p.emissions.shape
        e = c.e
        u = e if unary is None else unary
        u_b, u_t = (length * num_tags, num_tags) if u.dim() == 3 else (0, 0)
        v, v_b, v_t = (c.a, 0, 0) if pairs is None else matrices(pairs, e, length)
        kind = {
            "VARY": p.by_position or (pairs is not None and pairs.dim() == 4),
            "DUAL": unary is not None,
            "PAIRS": pairs is not None,
        }
        edges = wanted == "edges" or (wanted == "counts" and p.by_position)
        sums = wanted == "counts" and not edges
        goal = {"GOLD": tags is not None, "COUNTS": sums, "EDGES": edges}
        fields = 5 if unary is None else 8
        state = c.workspace(fields * batch * length * num_tags + batch)
        marks = c.workspace(batch * (c.chunks + 3), dtype=torch.int32)
        value = e.new_empty(batch)
        found = e.new_empty(e.shape)
        counts = e.new_empty((batch, num_tags, num_tags)) if sums else value
        blocks = c.workspace(batch, c.chunks, num_tags, num_tags) if sums else counts
        if edges:
            counts = blocks = e.new_empty((batch, length - 1, num_tags, num_tags))
        chain = (*c.tensors, u, v, c.lengths, state)
        results = (p.lengths if tags is None else tags, value, found, blocks, marks)
        shares = (*c.shape, c.span, c.chunks, *c.strides)
        directions = (u_b, u_t, v_b, v_t)
        constants = {**c.sizes, **kind, **goal}
        parts = -(-(num_tags**2) // 256) if sums else 1
        launch(
            sweep,
            (batch, 2),
            (*chain, marks, *c.shape, c.chunks + 2, *c.strides, *directions, 0),
            {**c.sizes, "LOG": False, **kind},
            c.warps,
        )
        launch(expect, (batch, c.chunks), (*chain, *results, *shares, v_b, v_t), constants, c.warps)
        launch(finish, (batch, parts), (*chain, *results, counts, *shares, *directions), constants, c.warps)
        return value, found, None if wanted == "none" else counts, marks

    def topk(self, p: Potentials, k: int) -> Paths:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().topk(p, k)
        from structkd.kernels.triton_paths import deviate, viterbi

        c = Chain(p)
        batch, length, num_tags = p.emissions.shape
        tags = torch.full((batch, k, length), -1, dtype=torch.int64, device=c.e.device)
        found = torch.full((batch, k), -torch.inf, dtype=torch.float64, device=c.e.device)
        pointers = c.workspace(batch, length, num_tags, dtype=torch.int32)
        onward = c.workspace(batch, length, num_tags) if k > 1 else found
        launch(
            viterbi,
            (batch,),
            (*c.tensors, c.lengths, c.e, onward, pointers, tags, found, length, 0, 0, *c.strides, k * length, k, 1),
            {**c.sizes, "VARY": p.by_position, "KEEP": k > 1, "MASKED": False, "FACTS": False},
            c.viterbi_warps,
        )
        if k > 1:
            offers = c.workspace(batch, k, length)
            choices = c.workspace(batch, k, length, dtype=torch.int32)
            paths = (tags, found, offers, choices)
            launch(
                deviate,
                (batch,),
                (c.e, c.a, c.start, c.lengths, onward, pointers, *paths, length, k, c.a_b, c.a_t, c.start_b),
                {**c.sizes, "STEPS": 1024 // c.sizes["P"]},
            )
        return Paths(tags, found.to(c.e.dtype))

    def decode(self, p: Potentials) -> list[list[int]]:
        rows = self._decode(p, None)
        return super().decode(p) if rows is None else rows

    def decode_masked(self, p: Potentials, mask: Tensor) -> list[list[int]] | None:
        return self._decode(p, mask)

    def _decode(self, p: Potentials, mask: Tensor | None) -> list[list[int]] | None:
        """Best tags in one launch and one copy to the host, or None where that cannot be."""
        batch, length, num_tags = p.emissions.shape
        if num_tags > _MOST_TAGS or length > _LONGEST:
            return None
        from structkd.kernels.triton_paths import viterbi

        c = Chain(p)
        # The tags of a sentence, and behind them its length and the facts about its mask: one copy to the host.
        width = length + 3
        packed = c.workspace(batch, width, dtype=torch.int8)
        pointers = c.workspace(batch, length, num_tags, dtype=torch.int32)
        mask_b, mask_t = (0, 0) if mask is None else mask.stride()
        unused = c.e
        launch(
            viterbi,
            (batch,),
            (
                *(*c.tensors, c.lengths, unused if mask is None else mask, unused, pointers, packed, unused),
                *(length, mask_b, mask_t, *c.strides, width, 0, 1),
            ),
            {**c.sizes, "VARY": p.by_position, "KEEP": False, "MASKED": mask is not None, "FACTS": True},
            c.viterbi_warps,
        )
        raw = packed.cpu().numpy().tobytes()
        rows = []
        for at in range(0, len(raw), width):
            behind = at + length
            n = raw[behind] + 128 * raw[behind + 1]
            if raw[behind + 2] or n == 0:
                return None
            # A byte becomes a number much faster than an element of a tensor. 255 is -1: there is no path.
            row = raw[at : at + n]
            rows.append(list(row) if 255 not in row else [-1] * n)
        return rows

    def sample(self, p: Potentials, uniforms: Tensor) -> Tensor:
        if p.emissions.shape[2] > _MOST_TAGS:
            return Scaled().sample(p, uniforms)
        from structkd.kernels.triton_paths import draw
        from structkd.kernels.triton_sweep import sweep

        c = Chain(p)
        batch, length, num_tags = p.emissions.shape
        uniforms = uniforms.double().contiguous()
        tags = torch.full(uniforms.shape, -1, dtype=torch.int64, device=c.e.device)
        state = c.workspace(5, batch, length, num_tags)
        launch(
            sweep,
            (batch, 1),
            (*c.tensors, c.e, c.a, c.lengths, state, tags, *c.shape, 0, *c.strides, 0, 0, 0, 0, 1),
            {**c.sizes, "LOG": True, "VARY": p.by_position, "DUAL": False, "PAIRS": False},
            c.warps,
        )
        samples = uniforms.shape[1]
        launch(
            draw,
            (batch, -(-samples // 16)),
            (c.a, c.start, c.lengths, state[2], uniforms, tags, length, samples, c.a_b, c.a_t, c.start_b),
            {**c.sizes, "DRAWS": 16},
        )
        return tags

    def path_counts(self, tags: Tensor, weights: Tensor, p: Potentials) -> tuple[Tensor, Tensor]:
        """Without the atomic additions of ``scatter_add`` on a GPU, whose order is not fixed."""
        if p.emissions.shape[2] > _MOST_TAGS:
            return super().path_counts(tags, weights, p)
        from structkd.kernels.triton_paths import count

        c = Chain(p)
        batch, length, num_tags = p.emissions.shape
        unary = weights.new_empty(p.emissions.shape)
        shape = (batch, length - 1 if p.by_position else c.chunks, num_tags, num_tags)
        pairs = weights.new_empty(shape) if p.by_position else c.workspace(*shape)
        tags, weights = tags.long().contiguous(), weights.contiguous()
        launch(
            count,
            (batch, c.chunks),
            (tags, weights, c.lengths, unary, pairs, length, tags.shape[1], c.span, c.chunks),
            {**c.sizes, "EDGES": p.by_position},
            c.warps,
        )
        return unary, pairs if p.by_position else pairs.sum(1).to(weights.dtype)

    def weigh(
        self, weights: Tensor | None, unary: Tensor, pairs: Tensor | None, p: Potentials
    ) -> tuple[Tensor | None, ...]:
        shared = p.transitions.dim() == 2 and p.start.dim() == 1 and p.end.dim() == 1
        if not shared or (pairs is not None and pairs.dim() == 4):
            return scores.weigh(weights, unary, pairs, p)
        from structkd.kernels.triton_scores import weigh

        batch, length, num_tags = unary.shape
        if weights is None:
            weights = unary.new_ones(1).expand(batch)
        unary = unary.contiguous()
        by_emissions = torch.empty_like(unary)
        by_transitions = None if pairs is None else unary.new_empty((num_tags, num_tags))
        by_start, by_end = unary.new_empty(num_tags), unary.new_empty(num_tags)
        blocks = -(-unary.numel() // 1024)
        launch(
            weigh,
            (blocks - (-num_tags * (num_tags + 2) // 32),),
            (
                *(weights, unary, unary if pairs is None else pairs.contiguous(), p.lengths.contiguous()),
                *(by_emissions, by_start if by_transitions is None else by_transitions, by_start, by_end),
                *(batch, length, weights.stride(0), blocks),
            ),
            {"C": num_tags, "PAIRS": pairs is not None},
        )
        return by_emissions, by_transitions, by_start, by_end

    def are_lengths(self, lengths: Tensor, length: int) -> bool:
        known = lengths.tolist()
        return min(known) >= 1 and max(known) <= length

    def read_mask(self, mask: Tensor) -> MaskFacts:
        from structkd.kernels.triton_scores import FIRST_OFF, HOLES, read_mask

        batch, length = mask.shape
        lengths = torch.empty(batch, dtype=torch.int64, device=mask.device)
        facts = torch.empty(batch, dtype=torch.int32, device=mask.device)
        launch(read_mask, (batch,), (mask, lengths, facts, length, *mask.stride()), {})
        found = facts.tolist()
        bits = 0
        for fact in found:
            bits |= fact
        return MaskFacts(lengths, bool(bits & HOLES), bool(bits & FIRST_OFF), min(found) < 4)


@cache
def _fault() -> str | None:
    """Why Triton cannot make and launch a kernel here, found by trying: it needs a driver, and a C compiler."""
    try:
        Triton().read_mask(torch.ones(1, 1, dtype=torch.bool, device="cuda"))
    except Exception as error:  # whatever its compilers raise
        return f"Triton does not work here: {type(error).__name__}: {error}"
    return None
