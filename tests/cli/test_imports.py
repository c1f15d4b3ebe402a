from __future__ import annotations

import json
from pathlib import Path

import pytest

from structkd.cli import main
from structkd.knowledge import KnowledgeStore
from structkd.recipe import dump_recipe
from tests.stages.toy import toy_recipe, write_corpora


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    write_corpora(tmp_path)
    (tmp_path / "toy.yaml").write_text(dump_recipe(toy_recipe(tmp_path)), encoding="utf-8")
    rows = [{"words": ["x", "y"], "tags": ["D", tag], "language": "zz"} for tag in ("N", None)]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return ["extract", str(tmp_path / "toy.yaml"), "--runs", str(tmp_path), "--import", str(tmp_path / "notes.jsonl")]


def test_an_import_prints_the_card_and_trains_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sentences"] == {"tags": 1, "partial tags": 1, "stored": 2}
    assert found["card"]["language"] == "zz"
    assert len(KnowledgeStore(Path(found["store"]))) == 2
    assert not list(tmp_path.rglob("*.safetensors"))
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "2 sentences; annotated: 1 with tags, 1 with partial tags" in lines[0]
    assert json.loads(lines[-1].removeprefix("- ")) == found["card"]


def test_a_faulty_import_names_every_line_and_leaves_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.jsonl").write_text('{"words": ["x"], "tags": ["Q"]}\nnothing\n', encoding="utf-8")
    assert main([*arguments, "--language", "zz"]) == 3
    assert "notes.jsonl:2: not JSON" in capsys.readouterr().err
    assert not (tmp_path / "toy").exists()
