"""setup.cfg, constraints, Makefile and the continuous integration script agree with each other and the tree."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_room_stands_on_a_floor():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    floors = set(re.findall(r"[a-z_]+", config["importlinter:contract:floors"]["layers"]))
    rooms = {path.parent.name for path in (ROOT / "structkd").glob("*/__init__.py")} | {"errors"}
    assert rooms <= floors


def test_constraints_pin_everything_that_is_required():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    names = {re.split(r"[\[<>=]", line)[0].lower() for line in wanted.split()}
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert names <= {line.split("==")[0].lower() for line in pins}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+(; python_version >= \"3\.\d+\")?", line) for line in pins)


def test_a_dry_run_of_the_makefile_shows_its_two_commands(tmp_path):
    command = ["make", "--dry-run", "quickstart", "test", f"VENV={tmp_path}/venv"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "pip install" in shown
    assert '-c constraints.txt -e ".[test]"' in shown
    assert "structkd run sample/quickstart" in shown
    assert all(tool in shown for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"))


def test_the_continuous_integration_script_parses():
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=False).returncode == 0
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
