"""Worker processes of a stage."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from structkd.stages.jobs import JobRunner, Silence


@dataclass(frozen=True)
class Sleeper:
    """A job that says which process does it, and then takes forever."""

    path: str
    title: str = "sleep"

    def is_done(self, context: Any) -> bool:
        return False

    def run(self, context: Any, report: Any) -> None:
        Path(self.path).write_text(str(os.getpid()), encoding="ascii")
        time.sleep(600)


class _NoContext:
    backend = None


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    program = (
        "from tests.stages.test_jobs import run_sleepers\n"
        f"if __name__ == '__main__':\n    run_sleepers({[str(file) for file in files]})\n"
    )
    script = tmp_path / "main.py"
    script.write_text(program, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment)
    _wait(lambda: all(file.exists() and file.read_text() for file in files))
    workers = [int(file.read_text()) for file in files]
    process.kill()
    process.wait()
    _wait(lambda: not any(_runs(worker) for worker in workers))


def run_sleepers(paths: list[str]) -> None:
    """What the process that is killed does."""
    with JobRunner(2, Silence()) as runner:
        runner.run("sleep", [Sleeper(path) for path in paths], cast(Any, _NoContext()))


@dataclass(frozen=True)
class Warner:
    """A job that comes upon a corpus that the parent has read before, and upon something of its own."""

    title: str

    def is_done(self, context: Any) -> bool:
        return False

    def run(self, context: Any, report: Any) -> None:
        logging.getLogger("structkd.corpus.read").warning("a broken tag")
        logging.getLogger("structkd.training.checkpoints").warning("a damaged checkpoint")


def test_workers_do_not_repeat_what_was_said_about_corpora(capfd: pytest.CaptureFixture[str]) -> None:
    with JobRunner(2, Silence()) as runner:
        runner.run("warn", [Warner("one"), Warner("two")], cast(Any, _NoContext()))
    said = capfd.readouterr().err
    assert said.count("WARNING: a damaged checkpoint") == 2
    assert "a broken tag" not in said


def _wait(reached: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:  # it has just ended, or this system has no such files
        return not Path("/proc/self").exists()
    return state != "Z"  # one that has ended keeps its number until somebody asks about it
