from __future__ import annotations

import os
import subprocess
import sys

import pytest

from structkd.errors import IntegrityError
from structkd.storage import atomic, atomic_directory, read_json, write_atomic, write_json


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(directory) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_text_and_bytes_are_written_whole_and_folders_created(tmp_path):
    write_atomic(tmp_path / "a" / "b.txt", "żółw\n")
    write_atomic(tmp_path / "a" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "żółw\n"
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\xff"
    assert names(tmp_path / "a") == ["b.txt", "c.bin"]


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_json_survives_a_round_trip_and_infinity_is_refused(tmp_path):
    value = {"tag": "ß", "scores": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("inf"))
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content", [b'{"a": ', b"", b"\xff\xfe{}"])
def test_damaged_json_is_refused_by_name(tmp_path, content):
    path = tmp_path / "scores.json"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"scores\.json.*damaged"):
        read_json(path)


def test_missing_json_is_refused_by_name(tmp_path):
    with pytest.raises(IntegrityError, match=r"nothing\.json.*no such file"):
        read_json(tmp_path / "nothing.json")


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "runs" / "model"
    with atomic_directory(target) as folder:
        (folder / "weights").write_text("1")
        assert folder.parent == target.parent
        assert not target.exists()
    assert (target / "weights").read_text() == "1"
    assert names(target.parent) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_the_old_folder_stays_and_nothing_else(tmp_path, error):
    target = tmp_path / "model"
    with atomic_directory(target) as folder:
        (folder / "weights").write_text("old")
    with pytest.raises(error), atomic_directory(target) as folder:  # noqa: PT012
        (folder / "weights").write_text("new")
        raise error
    assert (target / "weights").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_an_old_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "model"
    with atomic_directory(target) as folder:
        (folder / "only-old").write_text("1")
    with atomic_directory(target) as folder:
        (folder / "only-new").write_text("1")
    assert names(target) == ["only-new"]
    assert names(tmp_path) == ["model"]


def test_a_failed_final_rename_restores_the_old_folder(tmp_path, monkeypatch):
    target = tmp_path / "model"
    with atomic_directory(target) as folder:
        (folder / "weights").write_text("old")
    rename = os.rename

    def fail_for_the_new_one(source, destination):
        if ".partial." in str(source):
            raise OSError("no")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail_for_the_new_one)
    with pytest.raises(OSError, match="no"), atomic_directory(target) as folder:
        (folder / "weights").write_text("new")
    assert (target / "weights").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_kept(tmp_path):
    dead, alive = dead_pid(), os.getpid()
    for name in ("model", "other"):
        for pid in (dead, alive):
            (tmp_path / f".{name}.partial.{atomic._HOST}.{pid}.00000000").mkdir()
    (tmp_path / f".model.partial.elsewhere.{dead}.00000000").mkdir()
    with atomic_directory(tmp_path / "model"):
        pass
    assert names(tmp_path) == sorted(
        [
            f".model.partial.{atomic._HOST}.{alive}.00000000",
            f".model.partial.elsewhere.{dead}.00000000",
            f".other.partial.{atomic._HOST}.{alive}.00000000",
            f".other.partial.{atomic._HOST}.{dead}.00000000",
            "model",
        ]
    )


def test_a_folder_moved_away_by_a_process_that_died_comes_back(tmp_path):
    moved = tmp_path / f".model.replaced.{atomic._HOST}.{dead_pid()}.00000000"
    moved.mkdir()
    (moved / "weights").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "model"):
        raise KeyboardInterrupt
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_killed_writer_leaves_no_folder_under_the_final_name(tmp_path):
    program = (
        "import os, sys; from structkd.storage import atomic_directory\n"
        "with atomic_directory(sys.argv[1]) as folder:\n"
        "    (folder / 'weights').write_text('half'); os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model")], check=False)
    assert not (tmp_path / "model").exists()
    assert len(names(tmp_path)) == 1
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "weights").write_text("whole")
    assert names(tmp_path) == ["model"]
