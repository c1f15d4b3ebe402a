from __future__ import annotations

import pytest
import torch
import torchcrf

from structkd.bench import agreement, cuda
from structkd.bench.findings import Cell, Findings, Plan
from structkd.bench.kernels import run
from structkd.bench.problems import TASK, Problem, Shape
from structkd.bench.tables import render

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("name", sorted(cuda.GraphedPytorchCRF.tasks))
def test_what_is_recorded_as_a_graph_is_right(name):
    problem, task = Problem.draw(Shape(3, 7, 4)), TASK[name]
    found = agreement.answer(cuda.GraphedPytorchCRF(), task, problem)
    assert agreement.disagreement(agreement.truth(task, problem), found, problem, agreement.PEERS) is None


def test_what_is_recorded_reads_no_number_on_the_host(monkeypatch):
    problem = Problem.draw(Shape(3, 7, 4))
    calls = [cuda.GraphedPytorchCRF().eager(TASK[name], problem) for name in cuda.GraphedPytorchCRF.tasks]
    usual = torchcrf.CRF(4, batch_first=True)

    def refuse(tensor):
        raise RuntimeError("a number was read on the host")

    for name in ("__bool__", "__int__", "__float__", "__index__", "item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    for call in calls:
        call()
    with pytest.raises(RuntimeError, match="read on the host"):
        usual(problem.emissions, problem.tags, problem.mask)


def test_assertions_are_gone_from_the_copy_only():
    off = torch.zeros(2, 1, dtype=torch.bool)
    scores = torch.zeros(2, 1, 3)
    assert cuda.without_assertions(torchcrf).CRF(3)._compute_normalizer(scores, off).isfinite().all()
    with pytest.raises(AssertionError):
        torchcrf.CRF(3)._compute_normalizer(scores, off)


def test_bytes_count_every_input_and_every_result_once():
    problem = Problem.draw(Shape(2, 5, 3))
    parameters = 4 * (9 + 3 + 3)
    assert problem.least_bytes(TASK["marginals"]) == 2 * 4 * 30 + parameters
    assert problem.least_bytes(TASK["nll"]) == 2 * 4 * 30 + 2 * parameters + 8 * 10
    assert problem.least_bytes(TASK["backward"]) == 4 * 4 * 30 + 2 * parameters
    assert problem.least_bytes(TASK["10-best"]) == 4 * 30 + parameters + 8 * 10 * 10


def test_kernel_time_memory_and_bandwidth_have_tables():
    shape = Shape(32, 64, 17)
    cell = Cell(
        "main", "marginals", shape, 1, "triton", "measured", "device", milliseconds=0.05, ratio=100.0,
        kernel_milliseconds=0.01, memory_bytes=3 << 20, least_bytes=30_000_000,
    )  # fmt: skip
    found = Findings(Plan((shape,), ("marginals",)), ["triton"], [cell], copy_bandwidth=4e12)
    rows = [line.split() for line in render(found).splitlines() if line.startswith("(32,64,17)")]
    assert rows == [
        ["(32,64,17)", "0.050", "100x"],
        ["(32,64,17)", "0.010", "3.00"],
        ["(32,64,17)", "3000", "75.0"],
    ]


@needs_gpu
def test_on_a_gpu_every_cell_has_kernel_time_memory_and_bytes():
    plan = Plan((Shape(4, 9, 5),), budget=0.0, device=torch.device("cuda"), scaling=False)
    found = run(plan)
    assert found.refused == {}
    assert "triton" in found.contestants
    assert "pytorch-crf, graph" in found.contestants
    assert found.copy_bandwidth is not None
    assert found.copy_bandwidth > 1e10
    measured = [cell for cell in found.cells if cell.state == "measured"]
    assert all(cell.kernel_milliseconds and cell.memory_bytes is not None and cell.least_bytes for cell in measured)
    assert {cell.clock for cell in found.cells} == {"device"}
