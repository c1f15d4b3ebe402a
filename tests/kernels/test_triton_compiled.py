"""The Triton kernels compiled for a Hopper GPU (sm_90) without one: no spills, and no more registers than now.

Ceilings are what Triton 3.6 (of PyTorch 2.11) to 3.9 give, rounded up. A wrong layout of a block shows as several
times the instructions in the loop over the steps, long before anybody can time it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

if find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("Triton interprets in this process", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from structkd.kernels import triton_expect, triton_paths, triton_scores, triton_sweep
from structkd.kernels.triton_launch import VITERBI_WARPS, WARPS

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
if not (TOOLS / "cuobjdump").exists():
    pytest.skip("this Triton has no NVIDIA tools", allow_module_level=True)

POINTERS = {
    "*fp32": "e a start end u v log_z unary weights counts by_emissions by_transitions by_start by_end",
    "*fp64": "state onward scores offers arriving uniforms pairs",
    "*i64": "lengths tags",
    "*i32": "marks pointers choices facts",
    "*i1": "mask",
}
TYPES = {name: kind for kind, names in POINTERS.items() for name in names.split()}
PLAIN = {"VARY": False, "DUAL": False, "PAIRS": False}
DUAL = {"VARY": False, "DUAL": True, "PAIRS": True}
LIKELIHOOD = {"GOLD": True, "COUNTS": True, "EDGES": False}
COUNTS = {"GOLD": False, "COUNTS": True, "EDGES": False}


class Build(NamedTuple):
    registers: int
    stack: int  # bytes; a spill is a stack
    loops: list[int]  # instructions in every loop


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


def build(kernel: object, tags: int, folder: Path, warps: int | None = None, **constants: object) -> Build:
    padded = max(16, 1 << (tags - 1).bit_length())
    names: list[str] = kernel.arg_names  # type: ignore[attr-defined]
    fixed = {name: value for name, value in {"C": tags, "P": padded, **constants}.items() if name in names}
    signature = {x: "constexpr" if x in fixed else TYPES.get(x, "i32") for x in names}
    compiled = triton.compile(
        ASTSource(
            kernel,
            signature,
            constexprs={(names.index(x),): value for x, value in fixed.items()},
            attrs={(i,): [["tt.divisibility", 16]] for i, x in enumerate(names) if x in TYPES},
        ),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": warps or WARPS[padded], "enable_fp_fusion": True},
    )
    file = folder / "kernel.cubin"
    file.write_bytes(compiled.asm["cubin"])
    usage = tool("cuobjdump", "-res-usage", file)
    registers, stack = (int(re.search(rf"{x}:(\d+)", usage)[1]) for x in ("REG", "STACK"))  # type: ignore[index]
    return Build(registers, stack, loops(tool("nvdisasm", "-c", file)))


def tool(name: str, *arguments: object) -> str:
    return subprocess.run([TOOLS / name, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def loops(assembly: str) -> list[int]:
    """Instructions between every branch back and its label."""
    at: dict[str, int] = {}
    found, count = [], 0
    for line in assembly.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            at[label[1]] = count
        elif instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*);", line):
            count += 1
            target = re.search(r"BRA.*`\((\.L_x_\d+)\)", instruction[1])
            if target and at.get(target[1], count) < count - 1:
                found.append(count - at[target[1]])
    return found


@pytest.mark.parametrize(("tags", "plain", "dual"), [(9, 96, 112), (17, 80, 144), (33, 128, 192), (64, 128, 192)])
def test_the_recursion_stays_in_registers(tags: int, plain: int, dual: int, tmp_path: Path) -> None:
    for kind, ceiling, instructions in ((PLAIN, plain, 110), (DUAL, dual, 220)):
        found = build(triton_sweep.sweep, tags, tmp_path, LOG=False, **kind)
        assert found.stack == 0
        assert found.registers <= ceiling
        assert min(found.loops) <= instructions


@pytest.mark.parametrize(("tags", "plain", "dual"), [(9, 112, 160), (17, 112, 160), (33, 160, 248), (64, 192, 255)])
def test_marginals_and_counts_stay_in_registers(tags: int, plain: int, dual: int, tmp_path: Path) -> None:
    for kind, goal, ceiling in ((PLAIN, LIKELIHOOD, plain), (DUAL, COUNTS, dual)):
        found = build(triton_expect.expect, tags, tmp_path, **kind, **goal)
        assert found.stack <= (8 if tags == 64 and kind is DUAL else 0)  # one number, with Triton 3.7
        assert found.registers <= ceiling


@pytest.mark.parametrize(("tags", "ceiling"), [(9, 72), (17, 96), (33, 128), (64, 168)])
def test_viterbi_stays_in_registers(tags: int, ceiling: int, tmp_path: Path) -> None:
    kind = {"VARY": False, "KEEP": False, "MASKED": True, "FACTS": True}
    found = build(triton_paths.viterbi, tags, tmp_path, VITERBI_WARPS[max(16, 1 << (tags - 1).bit_length())], **kind)
    assert found.stack == 0
    assert found.registers <= ceiling
    assert max(found.loops) <= 240


def test_the_other_kernels_compile(tmp_path: Path) -> None:
    assert build(triton_expect.finish, 17, tmp_path, **PLAIN, **LIKELIHOOD).stack == 0
    assert build(triton_paths.deviate, 17, tmp_path, warps=4, STEPS=32).stack <= 8
    assert build(triton_paths.draw, 17, tmp_path, warps=4, DRAWS=16).stack == 0
    assert build(triton_paths.count, 17, tmp_path, EDGES=False).stack == 0
    assert build(triton_scores.read_mask, 17, tmp_path, warps=4).stack == 0
    assert build(triton_scores.weigh, 17, tmp_path, warps=4, PAIRS=True).stack == 0
    assert build(triton_scores.weigh, 17, tmp_path, warps=4, PAIRS=False).stack == 0


def test_transitions_by_position_compile(tmp_path: Path) -> None:
    vary, edges = {**PLAIN, "VARY": True}, {"GOLD": True, "COUNTS": False, "EDGES": True}
    assert build(triton_sweep.sweep, 17, tmp_path, LOG=False, **vary).stack == 0
    assert build(triton_expect.expect, 17, tmp_path, **vary, **edges).stack == 0
    assert build(triton_paths.viterbi, 17, tmp_path, VARY=True, KEEP=True, MASKED=False, FACTS=False).stack == 0
