from __future__ import annotations

import json
from pathlib import Path

import pytest

from structkd.cli import main
from structkd.recipe import dump_recipe
from tests.stages.toy import toy_recipe, write_corpora


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("extract")
    write_corpora(root)
    (root / "toy.yaml").write_text(dump_recipe(toy_recipe(root)), encoding="utf-8")
    return ["extract", str(root / "toy.yaml"), "--runs", str(root / "runs"), "--jobs", "1"]


def runs(arguments: list[str]) -> Path:
    return Path(arguments[arguments.index("--runs") + 1])


def test_check_names_what_is_not_there_yet(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--check", "--runs", "nowhere"]) == 4
    error = capsys.readouterr().err
    assert error.count("there is no knowledge at nowhere/toy/pos/knowledge/") == 2
    assert "--repair" in error


def test_extract_prints_size_and_speed_of_every_store(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in rows] == ["aa", "bb"]
    for row in rows:
        store = runs(arguments) / "toy" / "pos" / "knowledge" / row["store"]
        assert row["bytes"] == sum(path.stat().st_size for path in store.glob("*.arrow"))
        assert row["bytes_per_token"] == pytest.approx(row["bytes"] / row["tokens"], abs=0.01)
        assert row["sentences"] == 80
        assert row["sentences_per_second"] > 0
    assert main(arguments) == 0
    assert "bytes/token" in capsys.readouterr().out


def test_check_names_a_damaged_shard_and_repair_redoes_only_that(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    shards = sorted(runs(arguments).rglob("*.arrow"))
    whole = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards}
    damaged = bytearray(whole[shards[0]][0])
    damaged[len(damaged) // 2] ^= 0xFF
    shards[0].write_bytes(bytes(damaged))
    capsys.readouterr()
    assert main([*arguments, "--check"]) == 4
    captured = capsys.readouterr()
    assert str(shards[0]) in captured.err
    assert str(shards[1]) not in captured.err
    assert captured.out == ""
    assert main([*arguments, "--repair"]) == 0
    assert f"redoing: {shards[0]}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in shards} == {path: data for path, (data, _) in whole.items()}
    assert shards[1].stat().st_mtime_ns == whole[shards[1]][1]
    assert main([*arguments, "--check"]) == 0


def test_check_and_repair_exclude_each_other(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--check", "--repair"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_emissions_are_stored_only_for_objectives_that_compare_them(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {}
    for objective in ("structural", "0.5*emission + 0.5*structural", "substructure_mse"):
        assert main([*arguments, "--set", f"objective={objective}", "--json"]) == 0
        sizes[objective] = [row["bytes"] for row in json.loads(capsys.readouterr().out)]
    plain, emissions, both = sizes.values()
    assert all(a < b < c for a, b, c in zip(plain, emissions, both, strict=True))
