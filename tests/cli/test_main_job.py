from __future__ import annotations

import json
from pathlib import Path

import pytest

from structkd.cli import main
from structkd.recipe import dump_recipe
from tests.stages.toy import toy_recipe, write_corpora


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("job")
    write_corpora(root)
    (root / "toy.yaml").write_text(dump_recipe(toy_recipe(root)), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def arguments(folder: Path) -> list[str]:
    return [str(folder / "toy.yaml"), "--runs", str(folder / "runs"), "--set", "seeds=[1]", "--jobs", "1"]


@pytest.fixture(scope="module")
def ran(arguments: list[str], folder: Path) -> Path:
    assert main(["run", *arguments]) == 0
    return folder / "runs" / "toy" / "pos"


def test_dry_run_lists_jobs_and_starts_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    runs = ["--runs", "nowhere"]
    assert main(["run", *arguments, *runs, "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in rows].count("distill") == 4
    assert not any(row["up_to_date"] for row in rows)
    assert not Path("nowhere").exists()


def test_run_prints_the_table_on_stdout_and_progress_on_stderr(
    ran: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments]) == 0
    captured = capsys.readouterr()
    assert "Student, structural" in captured.out
    assert "What distillation bought" in captured.out
    assert "up to date" in captured.err
    assert "up to date" not in captured.out


def test_json_prints_the_rows_of_the_scores(
    ran: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((ran / "scores.json").read_text(encoding="utf-8"))


def test_report_is_written_again_from_the_run_directory(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ran / "report.html").unlink()
    assert main(["report", str(ran)]) == 0
    assert (ran / "report.html").is_file()
    assert "report.html" in capsys.readouterr().out


def test_report_of_nothing_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "no/such", "--runs", str(tmp_path)]) == 2
    assert "structkd run" in capsys.readouterr().err


def test_predict_tags_plain_text(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("aa1el aa2o aa3at\naa4el\n", encoding="utf-8")
    model = str(ran / "models" / "structural" / "seed-1")
    assert main(["predict", model, str(text)]) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [line.split("\t")[0] for line in blocks[0].splitlines()] == ["aa1el", "aa2o", "aa3at"]
    assert all(line.split("\t")[1] in "NVD" for block in blocks for line in block.splitlines())
    assert main(["predict", model, str(text), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(row["tags"]) for row in rows] == [3, 1]


def test_a_folder_without_a_tagger_is_bad_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("a b\n", encoding="utf-8")
    assert main(["predict", str(tmp_path), str(tmp_path / "text.txt")]) == 3
    assert "no tagger at" in capsys.readouterr().err


def test_a_mistyped_key_is_answered_with_the_nearest(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments, "--set", "student.encoder.hiden=4"]) == 2
    error = capsys.readouterr().err
    assert "hiden" in error
    assert "hidden" in error


def test_a_missing_corpus_is_bad_data_and_names_the_file(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments, "--runs", str(tmp_path), "--set", f"corpus.root={tmp_path}"]) == 3
    assert "aa.train.jsonl" in capsys.readouterr().err
