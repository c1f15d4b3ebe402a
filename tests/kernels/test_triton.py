"""The Triton backend where there is no GPU: what it says, what imports it, and its kernels in the interpreter."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import structkd
from structkd.kernels import triton_backend
from structkd.kernels.triton_backend import Triton

PACKAGE = Path(structkd.__file__).parent


def test_without_triton_the_backend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_backend, "find_spec", lambda name: None)
    assert "pip install triton" in str(Triton().unavailable())


def test_without_a_device_the_backend_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_backend, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "no CUDA device" in str(Triton().unavailable())
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert Triton().unavailable() is None


def test_where_triton_fails_the_backend_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Triton, mask: object) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(triton_backend, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *args, **kwargs: None)
    monkeypatch.setattr(Triton, "read_mask", fail)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    triton_backend._fault.cache_clear()
    try:
        assert Triton().unavailable() == "Triton does not work here: RuntimeError: Failed to find C compiler"
    finally:
        triton_backend._fault.cache_clear()


def test_it_works_on_cuda_tensors_or_interpreted_on_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert (Triton().runs_on(cpu), Triton().runs_on(cuda)) == (False, True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert (Triton().runs_on(cpu), Triton().runs_on(cuda)) == (True, False)


def test_triton_is_imported_by_one_file() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [x.name for x in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "triton" for name in names):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"kernels/triton_language.py"}


def test_the_backend_is_loaded_without_triton() -> None:
    code = "import sys, structkd.kernels as k; k.status(); sys.exit('structkd.kernels.triton_language' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode == 0


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_interpreted_kernels_agree_with_the_reference() -> None:
    """All of interpreted_triton.py, in a process of its own."""
    file = Path(__file__).with_name("interpreted_triton.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=PACKAGE.parent,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
