"""What is measured, not how fast it is."""

from __future__ import annotations

import json

import pytest
import torch

from structkd.bench.objectives import Shape, epoch_costs, extraction_cost, loss_costs, synthetic_words
from structkd.cli import main
from structkd.objective import OBJECTIVES


def test_every_objective_is_compared_with_nll() -> None:
    rows = loss_costs(Shape(3, 5, 4), rounds=2, repeats=1)
    assert [row.objective for row in rows] == list(OBJECTIVES)
    assert rows[0].relative == 1
    assert all(row.milliseconds > 0 for row in rows)


def test_an_epoch_is_timed_for_the_objectives_that_are_asked_for() -> None:
    rows = epoch_costs(objectives=["structural", "substructure_mse"], sentences=6, batch_size=3)
    assert [row.objective for row in rows] == ["nll", "structural", "substructure_mse"]
    assert rows[0].relative == 1
    assert rows[1].seconds > 0


def test_extraction_writes_the_whole_corpus_and_is_slower_than_the_encoder_that_it_runs() -> None:
    cost = extraction_cost(sentences=20, rounds=1)
    assert 0 < cost.extraction < cost.encoder
    assert cost.words_per_sentence == sum(map(len, synthetic_words(20))) / 20
    assert cost.milliseconds_per_batch > 0


def test_the_command_prints_json_and_leaves_the_threads_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    assert main(["bench", "objectives", "--rounds", "1", "--sentences", "4", "--backend", "torch", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["backend"] == "torch"
    assert len(found["losses"]) == len(found["epochs"]) == len(OBJECTIVES)
    assert torch.get_num_threads() == threads


def test_the_command_prints_a_line_for_every_objective(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "objectives", "--rounds", "1", "--sentences", "4"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in OBJECTIVES)
    assert "bytes/token" in out
