from __future__ import annotations

import json

import pytest

from structkd.cli import diagnosis, main
from structkd.cli.diagnosis import diagnose


def states() -> dict[str, str]:
    return {finding.name: finding.state for finding in diagnose()}


def test_a_sound_installation_has_status_0_and_one_line_for_each_finding(capsys, monkeypatch):
    monkeypatch.delenv("STRUCTKD_DATA", raising=False)
    assert main(["doctor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"python", "torch", "transformers", "packages", "cores", "recipes"} <= {row["name"] for row in rows}
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(row["name"] in line for line in lines) for row in rows)


def test_every_kernel_backend_is_reported():
    from structkd.kernels import status

    found = states()
    assert all(f"backend {name}" in found for name in status())


def test_a_data_root_that_is_no_folder_is_a_problem_with_status_1(capsys, monkeypatch):
    monkeypatch.setenv("STRUCTKD_DATA", "/nowhere/at/all")
    assert main(["doctor"]) == 1
    assert "/nowhere/at/all is no folder" in capsys.readouterr().out


def test_a_missing_package_is_a_problem_and_says_how_to_get_it(monkeypatch):
    version = diagnosis._version
    monkeypatch.setattr(diagnosis, "_version", lambda name: None if name == "seqeval" else version(name))
    finding = next(finding for finding in diagnose() if finding.name == "packages")
    assert (finding.state, finding.advice) == ("problem", "pip install seqeval")


def test_an_untested_version_is_a_warning(monkeypatch):
    monkeypatch.setitem(diagnosis.SUPPORTED, "torch", ("1.0", "1.1"))
    assert states()["torch"] == "warning"


def test_missing_collections_are_a_problem(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("structkd.recipe.catalogue.shipped", lambda collection: tmp_path)
    assert states()["recipes"] == "problem"


@pytest.mark.parametrize(("compiler", "advice"), [("gcc", "reinstall"), (None, "install a C compiler")])
def test_a_missing_cpu_backend_is_a_warning_with_the_way_to_get_it(monkeypatch, compiler, advice):
    monkeypatch.setattr("structkd.kernels.status", lambda: {"torch": "available", "cpu": "not built"})
    monkeypatch.setattr(diagnosis, "_compiler", lambda: compiler)
    finding = next(finding for finding in diagnose() if finding.name == "backend cpu")
    assert finding.state == "warning"
    assert advice in finding.advice
    assert finding.value == "not built"


def test_every_finding_that_is_not_ok_says_what_to_do(monkeypatch):
    monkeypatch.setattr(diagnosis, "_available_gib", lambda: 0.1)
    assert all(finding.advice for finding in diagnose() if finding.state != "ok")
    assert states()["memory"] == "warning"
