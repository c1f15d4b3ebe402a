"""`structkd sweep`: what it refuses, and that its plan costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

from structkd.cli import main
from structkd.cli.sweep import _typed
from structkd.recipe import dump_recipe
from tests.stages.toy import toy_recipe, write_corpora


def test_a_sweep_without_variations_is_a_usage_error(capsys) -> None:
    assert main(["sweep", "ud/pos-small"]) == 2
    assert "--vary KEY=V1,V2" in capsys.readouterr().err


def test_a_missing_file_of_results_is_found_before_anything_else(capsys) -> None:
    assert main(["sweep", "ud/pos-small", "--vary", "knowledge.k=1,2", "--write-results", "nowhere.md"]) == 2
    assert "nowhere.md" in capsys.readouterr().err


def test_a_plan_lists_shared_jobs_once_and_trains_nothing(tmp_path: Path, capsys) -> None:
    write_corpora(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(dump_recipe(toy_recipe(tmp_path)), encoding="utf-8")
    words = [
        "sweep",
        str(path),
        "--vary",
        "objective=topk,structural",
        "--seeds",
        "3",
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert main([*words, "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    trained = [row["job"] for row in rows if row["stage"] == "distill"]
    assert len(trained) == 3 * (2 + 1 + 2)
    assert sum("pseudo-labels" in title for title in trained) == 3
    assert not any(row["up_to_date"] for row in rows)
    assert not (tmp_path / "runs").exists()


def test_the_command_in_a_result_names_no_folder_of_a_machine() -> None:
    made = _typed("ud/pos", ["knowledge.k=1,2"], 3, ["corpus.root=/data", "corpus.gold=300"], [], True, Path("R.md"))
    assert made == (
        "structkd sweep ud/pos --vary knowledge.k=1,2 --seeds 3 --set corpus.gold=300 --languages --write-results R.md"
    )
