"""A fleet on Ray Serve, in an environment that `make test-slow` installs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.environments import find_environment

SCRIPTS = Path(__file__).parents[3] / "scripts"
ROUNDS = ("--processes", "2", "--machines", "1", "--pushed", "1", "--cameras", "1")


def run(script: str, output: Path, *options: str) -> dict[str, Any]:
    """What a script of the fleet's own measures."""
    python = find_environment("ray") / "bin" / "python"
    done = subprocess.run(
        [python, SCRIPTS / script, *options, "--output", output],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(output.read_text())


@pytest.mark.slow
def test_a_full_fleet_gets_another_engine(tmp_path):
    results = run("scale_ray_serve.py", tmp_path / "results.json")
    assert results["refused"] > 0
    assert results["cameras"] == results["cameras_of_one"] + 4  # all of which are labelled
    assert results["restarts"] == 0


@pytest.mark.slow
def test_streams_come_back_after_kills(tmp_path):
    results = run("soak_ray_serve.py", tmp_path / "results.json", *ROUNDS)
    assert results["lost"] == 0
    assert results["cameras_left"] == ["camera0"]
