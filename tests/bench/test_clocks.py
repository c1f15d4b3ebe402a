from __future__ import annotations

import pytest

from structkd.bench import clocks
from structkd.bench.contestants import Ours
from structkd.bench.findings import Plan, numbers
from structkd.bench.kernels import run
from structkd.bench.problems import TASK, Problem, Shape
from structkd.bench.tables import render
from tests.bench import fakes


def test_what_takes_over_20_seconds_is_not_run_and_is_said(monkeypatch):
    monkeypatch.setattr(clocks, "cpu_clock", fakes.pretending_clock)
    peer = fakes.PretendingPeer(lambda batch, length, tags: batch * length * tags * 0.003)
    shapes = (Shape(32, 32, 3), Shape(64, 64, 3), Shape(64, 80, 3), Shape(4, 8, 3))
    found = run(Plan(shapes, ("marginals", "backward"), ("torch",), budget=0.0, scaling=False), [peer])
    cells = {(c.shape, c.task): c for c in found.cells if c.contestant == "pretender"}
    assert [cells[shape, "marginals"].state for shape in shapes] == ["measured", "over", "over", "measured"]
    assert shapes[1] not in peer.called
    assert not [shape for shape in peer.called if shape.length > 32]
    # What is part of it, or smaller than it, took too long already.
    assert cells[shapes[2], "marginals"].note == "marginals at (64,64,3) already takes longer"
    assert cells[shapes[1], "backward"].note == "marginals at (64,64,3) already takes longer"
    row = next(line for line in render(found).splitlines() if line.startswith("(64,64,3)"))
    assert "> 20 s" in row


def test_the_ratio_to_a_baseline_over_the_limit_is_a_bound(monkeypatch):
    monkeypatch.setattr(clocks, "cpu_clock", fakes.pretending_clock)
    peer = fakes.PretendingPeer(lambda *shape: 1000.0)
    peer.name = "pytorch-crf"
    found = run(Plan((Shape(32, 32, 3),), ("marginals",), ("torch",), budget=0.0, scaling=False), [peer])
    ours = next(cell for cell in found.cells if cell.contestant == "torch")
    assert ours.ratio == pytest.approx(20 / 0.001)
    assert ours.ratio_is_bound
    assert ">20000x" in render(found)


def test_a_call_whose_time_does_not_grow_with_the_sentences_is_not_misjudged(monkeypatch):
    monkeypatch.setattr(clocks, "cpu_clock", fakes.pretending_clock)
    peer = fakes.PretendingPeer(lambda batch, length, tags: 0.05 * length)
    found = run(Plan((Shape(32, 64, 3),), ("marginals",), ("torch",), budget=0.0, scaling=False), [peer])
    assert [cell.state for cell in found.cells] == ["measured", "measured"]


def test_everybody_takes_turns():
    order = []

    class Noted(Ours):
        def __init__(self, backend, name):
            super().__init__(backend)
            self.noted = name

        def prepare(self, task, problem):
            call = super().prepare(task, problem)
            return lambda: (order.append(self.noted), call())[1]

    first, second = Noted("torch", "a"), Noted("reference", "b")
    problem = Problem.draw(Shape(2, 3, 3))
    clocks.measure([first, second], TASK["nll"], problem, clock=lambda call: (call(), 0.01)[1], budget=0.1, limit=20)
    assert "".join(order) == "ab" + "aabb" * 5


def test_a_cell_is_the_median_of_its_calls():
    timing = clocks.Timing((0.003, 0.001, 0.002, 0.1))
    facts = numbers(timing, clocks.Timing((0.25,)), 20.0)
    assert facts["milliseconds"] == 2.5
    assert facts["ratio"] == 100
    assert facts["calls"] == 4
    assert numbers(clocks.Timing(over="25 s"), None, 20.0) == {"state": "over", "note": "25 s"}
