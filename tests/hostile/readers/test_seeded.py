"""Mutated files of every kind: each is read, or refused by a typed error."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from hostile.readers.run_cases import run_case
from hostile.readers.targets import TARGETS

COMPILED = ("exported", "onnx", "openvino", "openvino_graph")  # a case takes tens of milliseconds
QUICK = {name: 20 if name in COMPILED else 60 for name in TARGETS}
MANY = 3000


@pytest.mark.parametrize("target", TARGETS)
def test_a_few_mutations(target: str, tmp_path: Path) -> None:
    TARGETS[target].prepare(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failures = {seed: run_case(target, seed, tmp_path) for seed in range(QUICK[target])}
    assert not {seed: reason for seed, reason in failures.items() if reason}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_thousands_of_mutations_neither_crash_nor_hang_nor_exhaust(target: str) -> None:
    command = [sys.executable, "-m", "hostile.readers.run_cases", target, "0", str(MANY)]
    root = Path(__file__).parents[2]
    search = [str(root), str(root.parent / "src")]
    ended = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": ":".join(search)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
