"""Kernels compile for a GPU; Triton's interpreter accepts code that the compiler refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from co3d.backends.triton_gpu.availability import why_unavailable
from support.gpu import TESTED

pytestmark = pytest.mark.slow
KERNELS = {
    "average_sums",
    "convolve",
    "convolve_few_channels",
    "excite",
    "find_rows",
    "multiply_vectors",
    "sum_depthwise",
}


@pytest.mark.parametrize("precision", sorted({*TESTED, "bfloat16"}))
def test_all_kernels_compile_for_a_gpu(precision: str, tmp_path: Path) -> None:
    """With contiguous operands and operands in pools, for one slot and for several."""
    pytest.importorskip("triton", reason="triton is not installed: make test-slow brings it")
    if why_unavailable() is not None:
        pytest.skip("triton cannot run here")
    tests = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tests), *filter(None, sys.path)]),
        "TRITON_CACHE_DIR": str(tmp_path),
    }
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(tests / "support" / "gpu_target.py"), precision, "1", "8"]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert set(json.loads(made.stdout.splitlines()[-1])) == KERNELS
