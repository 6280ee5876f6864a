"""Two processes that train together make the network that one makes alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from co3d.training.metrics_log import read_metrics
from support.miniature import film_motion, write_mp4

SOURCES = Path(__file__).parents[2] / "src"


def run(recipe, logs, *overrides):
    """Train; returns the only folder that the run made."""
    command = [sys.executable, "-m", "co3d", "train", recipe, "--json", *overrides]
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCES),
        "OMP_NUM_THREADS": "1",
        "LOGS_PATH": str(logs),
    }
    done = subprocess.run(
        list(map(str, command)), env=environment, check=True, timeout=300, capture_output=True
    )
    (line,) = done.stdout.decode().splitlines()
    (folder,) = logs.iterdir()
    assert json.loads(line)["folder"] == str(folder)
    return folder


@pytest.mark.slow
def test_training_in_two_gloo_processes_equals_one(tmp_path):
    for label, name in enumerate(("still", "left")):
        for number in range(5):
            path = tmp_path / "videos" / name / f"{number}.mp4"
            write_mp4(path, film_motion(label, 12, 10 * label + number))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "epochs": 2,
                "keep": "last",
                "model": {"name": "camera_motion", "dropout": 0.0},
                "data": {"kind": "videos", "path": str(tmp_path / "videos"), "workers": 0},
                "freezing": {"batch_norm": True},
                "optimiser": {"kind": "sgd", "learning_rate": 0.01},
                "compute": {"accelerator": "cpu"},
                "logging": {"tensorboard": False},
            }
        )
    )
    one = run(recipe, tmp_path / "one", "data.batch=4")
    two = run(recipe, tmp_path / "two", "data.batch=2", "compute.devices=2", "compute.strategy=ddp")
    last = torch.load(one / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    expected, got = (load_file(folder / "model.safetensors") for folder in (one, two))
    for key, tensor in expected.items():
        torch.testing.assert_close(got[key], tensor, rtol=1e-4, atol=1e-6, msg=key)
    rows = [read_metrics(folder / "metrics.csv")[-1] for folder in (one, two)]
    assert rows[0]["step"] == rows[1]["step"]
    assert rows[0]["validation_loss"] == pytest.approx(rows[1]["validation_loss"], rel=1e-4)
