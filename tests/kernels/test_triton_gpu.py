"""The Triton kernels on a GPU: the full grid, and the same bits in every run."""

from __future__ import annotations

import pytest
import torch

from structkd.kernels import Potentials
from structkd.kernels.reference import Reference
from structkd.kernels.triton_backend import Triton
from tests.kernels.chains import KINDS
from tests.kernels.side_by_side import answers, compare, draw, moved

CUDA = torch.device("cuda")
pytestmark = pytest.mark.skipif(
    Triton().unavailable() is not None or not Triton().runs_on(CUDA), reason="no CUDA device, or no Triton"
)
TRITON, REFERENCE = Triton(), Reference()


def check(p: Potentials, tolerance: float) -> None:
    compare(answers(TRITON, moved(p, CUDA)), answers(REFERENCE, p), tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("tags", [1, 2, 9, 17, 33])
@pytest.mark.parametrize("length", [1, 2, 3, 63, 128])
def test_kernels_agree_with_the_reference(length: int, tags: int, dtype: torch.dtype) -> None:
    check(draw("shared", length, tags, dtype), 1e-9 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(("length", "tags"), [(1, 2), (2, 1), (3, 64), (63, 9), (40, 33)])
def test_kernels_agree_where_transitions_differ(kind: str, length: int, tags: int) -> None:
    check(draw(kind, length, tags, torch.float64), 1e-9)


@pytest.mark.parametrize("tags", [100, 129])
def test_many_tags_are_answered(tags: int) -> None:
    check(draw("shared", 5, tags, torch.float64), 1e-9)


def test_long_sentences_with_large_scores_and_constraints_are_exact_to_5e_6() -> None:
    p = draw("shared", 512, 9, torch.float32, scale=20.0)
    p.transitions[:, 3] = -1e4
    p.transitions[2, 3] = 1.0
    wide = p.double()
    mine = TRITON.expectations(moved(p, CUDA), "none").marginals.cpu()
    theirs = REFERENCE.expectations(wide, "none").marginals
    assert (mine - theirs).abs().max() < 5e-6
    along = torch.randn(p.emissions.shape, generator=torch.Generator().manual_seed(0))
    turned = TRITON.directional(moved(p, CUDA), along.to(CUDA), None)[0].cpu()
    assert (turned - REFERENCE.directional(wide, along.double(), None)[0]).abs().max() < 5e-6


def test_rows_without_a_path_and_rows_that_underflow_are_done_again() -> None:
    p = draw("by_sentence", 20, 9, torch.float64, batch=4)
    p.transitions[1] = -torch.inf
    p.transitions[2] -= 1e4
    check(p, 1e-9)


def test_every_run_gives_the_same_bits() -> None:
    p = moved(draw("shared", 63, 17, torch.float32, batch=16), CUDA)
    first = answers(TRITON, p)
    for _ in range(5):
        compare(answers(TRITON, p), first, 0)
