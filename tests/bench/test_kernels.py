from __future__ import annotations

import dataclasses
import json
from itertools import product

import pytest
import torch

from structkd.bench import agreement, kernels
from structkd.bench.contestants import Ours
from structkd.bench.findings import Cell, Findings, Plan
from structkd.bench.kernels import run
from structkd.bench.peers import PytorchCRF, all_peers
from structkd.bench.problems import TASK, Problem, Shape
from structkd.bench.tables import render
from structkd.cli import main
from structkd.errors import UsageError
from structkd.kernels import available_backends, dispatch
from tests.bench import fakes

SMALL = (Shape(3, 6, 4), Shape(2, 9, 3))
TINY = Plan(shapes=SMALL, budget=0.0, scaling=False)


@pytest.fixture
def small_scaling(monkeypatch):
    tables = {"length": (Shape(2, 4, 3), Shape(2, 8, 3)), "tags": (Shape(2, 4, 5),), "batch": (Shape(4, 4, 3),)}
    monkeypatch.setattr(kernels, "SCALING", tables)
    monkeypatch.setattr(kernels, "THREADS_SHAPE", Shape(5, 4, 3))
    monkeypatch.setattr(kernels, "thread_numbers", lambda: [1, 2])
    return tables


def with_backend(monkeypatch, backend):
    monkeypatch.setitem(dispatch._TABLE, "wrong", backend)
    monkeypatch.setattr(dispatch, "_loaded", {})


@pytest.mark.parametrize(
    ("backend", "task"),
    [
        (fakes.WrongMarginals, "nll"),
        (fakes.WrongMarginals, "marginals"),
        (fakes.WrongCounts, "nll"),
        (fakes.WrongDerivative, "backward"),
        (fakes.NoNumbers, "marginals"),
        (fakes.NotTheBestPath, "viterbi"),
        (fakes.NotTheBestPath, "5-best"),
        (fakes.TwiceTheSamePath, "10-best"),
    ],
)
def test_a_backend_that_is_wrong_is_refused_and_has_no_numbers(monkeypatch, backend, task):
    with_backend(monkeypatch, backend)
    found = run(dataclasses.replace(TINY, tasks=(task,), backends=("torch", "wrong")), [])
    assert "disagrees with the reference" in found.refused["wrong"]
    assert found.contestants == ["torch"]
    assert {cell.contestant for cell in found.cells} == {"torch"}
    assert "left out: wrong: refused: disagrees" in render(found)


def test_a_backend_that_is_wrong_at_one_shape_only_has_no_numbers_at_another(monkeypatch):
    class WrongWhenLong(fakes.WrongMarginals):
        def expectations(self, p, pairs, *, keep=False):
            right = p.emissions.shape[1] < 9
            return super(fakes.WrongMarginals if right else WrongWhenLong, self).expectations(p, pairs, keep=keep)

    with_backend(monkeypatch, WrongWhenLong)
    found = run(dataclasses.replace(TINY, tasks=("marginals",), backends=("wrong",)), [])
    assert "at (2,9,3)" in found.refused["wrong"]
    assert found.cells == []


def test_the_command_ends_with_status_1_where_a_backend_is_wrong(monkeypatch, capsys):
    with_backend(monkeypatch, fakes.WrongMarginals)
    words = ["--shapes", "3,6,4", "--tasks", "marginals", "--peers", "none", "--backends", "torch,wrong"]
    assert main(["bench", "kernels", *words]) == 1
    output = capsys.readouterr()
    assert "no times are shown for a backend that is wrong: wrong disagrees" in output.err
    header = next(line for line in output.out.splitlines() if line.startswith("(B,T,C)  "))
    assert header.split() == ["(B,T,C)", "torch"]


@pytest.mark.parametrize("task", TASK.values(), ids=lambda task: task.name)
@pytest.mark.parametrize("name", available_backends())
def test_our_backends_agree(task, name):
    problem = Problem.draw(Shape(3, 6, 4))
    found = agreement.answer(Ours(name), task, problem)
    assert agreement.disagreement(agreement.truth(task, problem), found, problem, agreement.OURS) is None


@pytest.mark.parametrize("peer", all_peers(), ids=lambda peer: peer.name)
def test_installed_peers_agree_on_every_task_that_they_know(peer):
    pytest.importorskip(peer.module)
    found = run(TINY, [peer])
    assert [name for name in found.left_out if name.startswith(peer.name)] == []
    measured = {cell.task for cell in found.cells if cell.contestant == peer.name and cell.state == "measured"}
    assert measured == peer.tasks


def test_every_cell_of_the_main_tables_is_there():
    found = run(TINY, [PytorchCRF()])
    assert found.contestants[0] == "pytorch-crf"
    keys = [(cell.table, cell.task, cell.shape, cell.contestant) for cell in found.cells]
    assert sorted(keys) == sorted(product(["main"], TASK, SMALL, found.contestants))
    states = {(cell.contestant, cell.task): cell.state for cell in found.cells}
    assert states["pytorch-crf", "5-best"] == "none"
    assert states["torch", "5-best"] == states["pytorch-crf", "nll"] == "measured"
    text = render(found)
    for task in TASK.values():
        table = text[text.index(f"{task.title}: ms") :].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in table[2:]] == ["(3,6,4)", "(2,9,3)"]
        columns = ["torch", "pytorch-crf"] if "best" not in task.name else ["torch"]
        assert all(name in table[1] for name in columns)


def test_every_cell_of_the_scaling_tables_is_there(small_scaling):
    found = run(dataclasses.replace(TINY, scaling=True, backends=("torch",)), [PytorchCRF()])
    keys = {(c.table, c.task, c.shape, c.threads) for c in found.cells if c.table != "main"}
    rows = [(table, shape, 1) for table, shapes in small_scaling.items() for shape in shapes]
    rows += [("threads", Shape(5, 4, 3), number) for number in (1, 2)]
    assert keys == {(table, task, shape, n) for task in ("nll", "viterbi") for table, shape, n in rows}
    threads = [cell for cell in found.cells if cell.table == "threads"]
    assert {cell.clock for cell in threads} == {"wall"}
    assert {cell.ratio for cell in threads if cell.threads == 1} == {1.0}
    assert all(cell.ratio for cell in threads)
    assert "NLL, forward + backward, over threads: wall ms; x against itself with one thread" in render(found)
    assert {cell.clock for cell in found.cells if cell.table != "threads"} == {"cpu"}


def test_threads_are_those_of_before_after_a_run():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(dataclasses.replace(TINY, tasks=("viterbi",), backends=("torch",)), [])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_json_holds_every_field_of_every_cell(capsys):
    words = ["--quick", "--shapes", "3,6,4", "--tasks", "nll,5-best", "--peers", "pytorch-crf", "--backends", "torch"]
    assert main(["bench", "kernels", "--json", *words]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert list(found) == [
        "format", "machine", "plan", "contestants", "left_out", "refused", "copy_bytes_per_second", "cells"
    ]  # fmt: skip
    assert found["format"] == 1
    assert found["plan"]["shapes"] == [[3, 6, 4]]
    assert {"processor", "cores", "load", "device", "python", "torch", "structkd"} == set(found["machine"])
    fields = [field.name for field in dataclasses.fields(Cell)]
    assert all(list(cell) == fields for cell in found["cells"])
    assert [(cell["task"], cell["contestant"], cell["state"]) for cell in found["cells"]] == [
        ("nll", "pytorch-crf", "measured"),
        ("nll", "torch", "measured"),
        ("5-best", "pytorch-crf", "none"),
        ("5-best", "torch", "measured"),
    ]
    first, second = found["cells"][:2]
    assert first["ratio"] == 1
    assert second["ratio"] == pytest.approx(first["milliseconds"] / second["milliseconds"])
    assert second["low"] <= second["milliseconds"] <= second["high"]
    assert "nll at (3,6,4)" in output.err


def test_a_peer_that_is_missing_or_broken_is_named_and_left_out():
    found = run(dataclasses.replace(TINY, tasks=("viterbi",)), [fakes.NotInstalled(), fakes.BrokenImport()])
    assert "structkd[bench]" in found.left_out["not-installed"]
    assert "AdamW" in found.left_out["broken-import"]
    assert not {"not-installed", "broken-import"} & set(found.contestants)
    assert "left out: not-installed: cannot be imported" in render(found)


def test_a_peer_loses_the_tasks_that_it_gets_wrong_or_fails_and_keeps_the_others():
    found = run(dataclasses.replace(TINY, backends=("torch",)), [fakes.WrongPeer()])
    assert "marginals: off by 0.1" in found.left_out["wrong-peer: marginals"]
    assert "IndexError: oops" in found.left_out["wrong-peer: viterbi"]
    states = {cell.task: cell.state for cell in found.cells if cell.contestant == "wrong-peer"}
    assert states == {
        "nll": "measured", "marginals": "none", "backward": "measured", "viterbi": "none", "5-best": "none",
        "10-best": "none",
    }  # fmt: skip


def test_a_peer_that_fails_on_a_large_batch_only_is_named():
    class OutOfMemory(PytorchCRF):
        def prepare(self, task, problem):
            if problem.shape.length > 8:
                raise RuntimeError("not enough memory\nfor this")
            return super().prepare(task, problem)

    found = run(dataclasses.replace(TINY, tasks=("nll",), backends=("torch",)), [OutOfMemory()])
    assert [cell.state for cell in found.cells if cell.contestant == "pytorch-crf"] == ["measured", "failed"]
    assert "failed: pytorch-crf: nll at (2,9,3): RuntimeError: not enough memory" in render(found)


def test_parts_of_a_problem_are_ragged_chains_of_the_same_numbers():
    problem = Problem.draw(Shape(8, 12, 4))
    part = problem.part(2, 3)
    assert part.shape == Shape(2, 3, 4)
    assert torch.equal(part.emissions, problem.emissions[:2, :3])
    assert part.lengths.tolist() == [3, 3]
    assert problem.lengths.max() == 12
    assert problem.lengths.min() >= 6
    assert torch.equal(problem.mask.sum(1), problem.lengths)


@pytest.mark.parametrize("text", ["32,64", "a,b,c", "0,4,4", "4,1,4", "1,2,3,4", ""])
def test_a_shape_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="expected"):
        Shape.parse(text)


@pytest.mark.parametrize(
    "words",
    [
        ["--tasks", "nonsense"],
        ["--peers", "nonsense"],
        ["--shapes", "1,2"],
        pytest.param(["--device", "cuda"], marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it is there")),
    ],
)
def test_wrong_options_have_status_2(capsys, words):
    assert main(["bench", "kernels", *words]) == 2
    assert capsys.readouterr().out == ""


def test_a_backend_asked_for_by_name_that_is_not_there_is_an_error(capsys):
    words = ["--shapes", "3,6,4", "--peers", "none", "--backends", "nonsense"]
    assert main(["bench", "kernels", *words]) == 1
    assert "there is no backend 'nonsense'" in capsys.readouterr().err


def test_a_run_ends_in_time_and_says_what_it_skipped():
    found = run(dataclasses.replace(TINY, backends=("torch",), minutes=0.0), [PytorchCRF()])
    states = {(cell.contestant, cell.task): cell.state for cell in found.cells}
    assert states["torch", "nll"] == states["pytorch-crf", "nll"] == "skipped"
    assert states["pytorch-crf", "5-best"] == "none"
    assert "no time" in render(found)


def test_quick_keeps_to_two_shapes_and_one_second(monkeypatch):
    plans = []
    monkeypatch.setattr(kernels, "run", lambda plan, peers, progress: plans.append(plan) or Findings(plan))
    main(["bench", "kernels", "--quick"])
    main(["bench", "kernels"])
    quick, whole = plans
    assert (len(quick.shapes), quick.limit, quick.scaling) == (2, 1.0, False)
    assert (len(whole.shapes), whole.limit, whole.scaling) == (5, 20.0, True)
