"""The example runners do not import co3d, and give the same labels."""

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import co3d

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE_MODULES = Path(sys.prefix) / "node_modules"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model, program) -> tuple[Path, Path]:
    """The network as ONNX, and its description."""
    folder = tmp_path_factory.mktemp("examples")
    path, about = folder / "network.onnx", folder / "network.json"
    text = co3d.export_program(program, path, format="onnx", card=model.card)
    about.write_text(json.dumps({"description": json.loads(text)}))
    return path, about


def _label(program, frames, labels) -> list[str]:
    stream = co3d.open_stream(program, backend="onnxruntime")
    results = [stream.step(frame) for frame in frames]
    return [labels[int(r.output[0].argmax())] for r in results if r.valid[0]]


@pytest.mark.parametrize("name", ["run_onnx.py", "run_onnx.mjs"])
def test_runners_are_short_and_do_not_import_co3d(name):
    text = (EXAMPLES / name).read_text()
    assert len(text.splitlines()) < 40
    assert "import co3d" not in text
    assert "import torch" not in text


def test_the_python_runner_gives_the_streams_labels(exported, program, model, sample_frames):
    with resources.as_file(resources.files("co3d").joinpath("assets/sample.mp4")) as video:
        done = subprocess.run(
            [sys.executable, EXAMPLES / "run_onnx.py", exported[0], video],
            capture_output=True,
            text=True,
            check=True,
        )
    theirs = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
    ours = _label(program, sample_frames, model.card.labels)
    assert len(theirs) == len(ours)
    # Pillow scales pictures a little otherwise, and rounds to whole levels.
    assert np.mean([a == b for a, b in zip(theirs, ours, strict=True)]) >= 0.98


def test_the_python_runner_reports_a_missing_card(program, tmp_path):
    co3d.export_program(program, tmp_path / "network.onnx", format="onnx")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "run_onnx.py", tmp_path / "network.onnx", "video.mp4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "has no card: export it with --rate-hz, --mean, --std, --labels\n"


@pytest.mark.slow
def test_the_javascript_runner_gives_the_streams_labels(exported, program, model, tmp_path):
    """With raw pictures, so that both see the same. `make test-slow` installs its package."""
    if not (NODE_MODULES / "onnxruntime-node").is_dir():
        message = "onnxruntime-node is not installed; install it with make test-slow (it needs npm)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    runner = tmp_path / "run_onnx.mjs"
    runner.write_text((EXAMPLES / "run_onnx.mjs").read_text())
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    pictures = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    done = subprocess.run(
        ["node", runner, *exported], input=pictures.tobytes(), capture_output=True, check=True
    )
    theirs = [line.split(" ", 1)[1] for line in done.stdout.decode().splitlines()]
    frames = [model.card.preprocess(picture) for picture in pictures]
    assert theirs == _label(program, frames, model.card.labels)
