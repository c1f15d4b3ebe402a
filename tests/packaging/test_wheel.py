"""The wheel holds every room and every file of the collections, and works away from the source tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("structkd", "recipes", "teachers")
FILES = ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")
ROOMS = sorted(".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "structkd").rglob("__init__.py"))
YAMLS = sorted(path.relative_to(ROOT) for name in ("recipes", "teachers") for path in (ROOT / name).rglob("*.yaml"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The unpacked wheel, built from a copy so that nothing is left in the source tree."""
    source, built, unpacked = (tmp_path_factory.mktemp(name) for name in ("source", "built", "unpacked"))
    for name in SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=source)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (archive,) = built.glob("structkd-*.whl")
    with zipfile.ZipFile(archive) as file:
        file.extractall(unpacked)
    return unpacked


def test_every_room_is_in_the_wheel(wheel):
    missing = [room for room in ROOMS if not (wheel / room.replace(".", "/") / "__init__.py").is_file()]
    assert missing == [], "list them under `packages` in setup.cfg"


def test_every_recipe_and_teacher_card_is_in_the_wheel(wheel):
    assert YAMLS
    assert [path for path in YAMLS if not (wheel / "structkd" / "collections" / path).is_file()] == []


def test_every_data_file_of_a_room_is_in_the_wheel(wheel):
    skipped = {".py", ".pyc", ".so", ".c", ".h"}
    files = [path.relative_to(ROOT) for path in (ROOT / "structkd").rglob("*") if path.is_file()]
    missing = [path for path in files if path.suffix not in skipped and not (wheel / path).is_file()]
    assert missing == [], "name them under [options.package_data] in setup.cfg"


def test_nothing_but_structkd_lands_at_the_top(wheel):
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {"structkd"}


def test_every_room_imports_and_the_collections_load_from_the_unpacked_wheel(wheel, tmp_path):
    program = (
        "import importlib, pathlib, sys\n"
        f"for room in {ROOMS}:\n"
        "    module = importlib.import_module(room)\n"
        "    assert pathlib.Path(module.__file__).is_relative_to(sys.argv[1]), module.__file__\n"
        "from structkd.recipe import list_recipes, list_teachers, load_recipe\n"
        "print(len(list_recipes()), len(list_teachers()))\n"
        "for entry in list_recipes():\n"
        "    load_recipe(entry.name)\n"
    )
    environment = {"PYTHONPATH": str(wheel), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, str(wheel)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    recipes = sum(path.parts[0] == "recipes" for path in YAMLS)
    assert result.stdout.split() == [str(recipes), str(len(YAMLS) - recipes)]


def test_the_console_script_is_declared(wheel):
    (declared,) = wheel.glob("*.dist-info/entry_points.txt")
    assert "structkd = structkd.cli:main" in declared.read_text()
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    assert "License-Expression: Apache-2.0" in metadata.read_text()
