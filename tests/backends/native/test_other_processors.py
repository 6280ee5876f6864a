"""The kernels compiled for processors with shorter vectors, or without bfloat16 instructions."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from co3d.backends.native.library import find_compiler

KERNEL_TESTS = [
    Path(__file__).with_name(f"test_{name}.py") for name in ("kernels", "taps", "frames")
]
COMPILER = """#!/bin/sh
for argument; do
    shift
    [ "$argument" = -march=native ] && argument=-march={march}
    set -- "$@" "$argument"
done
exec {compiler} "$@"
"""


def has_flags(*flags: str) -> bool:
    information = Path("/proc/cpuinfo")
    return information.exists() and set(flags) <= set(information.read_text().split())


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these processors are x86")
@pytest.mark.parametrize(
    ("march", "lanes", "half_depth", "flags"),
    [
        ("x86-64", 4, 1, ()),
        ("haswell", 8, 1, ("avx2", "fma")),
        ("skylake-avx512", 16, 1, ("avx512f", "avx512bw")),
        ("cooperlake", 16, 2, ("avx512f", "avx512bw", "avx512_bf16")),  # no AMX
    ],
)
def test_kernels_of_another_processor(
    march: str, lanes: int, half_depth: int, flags: tuple[str, ...], tmp_path: Path
) -> None:
    if not has_flags(*flags):
        pytest.skip(f"this processor does not run programs for {march}")
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER.format(march=march, compiler=shlex.join(find_compiler() or [])))
    compiler.chmod(0o755)
    program = "from co3d.backends.native.library import load_library as load; library = load(); "
    for name in ("lanes", "dense_depth", "depthwise_depth"):
        program += f"print(library.co3d_{name}()); "
    environment = os.environ | {"CXX": str(compiler), "CO3D_CACHE": str(tmp_path / "cache")}
    printed = subprocess.check_output([sys.executable, "-c", program], env=environment)
    assert printed.split() == [b"%d" % n for n in (lanes, half_depth, half_depth)]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *KERNEL_TESTS],
        check=True,
        env=environment,
        cwd=Path(__file__).parent,
    )
