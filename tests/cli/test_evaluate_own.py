"""`co3d eval` of run folders, exported files and networks of a user's own."""

import json

import pyarrow.parquet as pq
import pytest

from co3d.models import create_model, save_model
from support.evaluations import STREAM, evaluate
from support.miniature import make_kinetics

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    return make_kinetics(tmp_path_factory.mktemp("kinetics"), classes=("pan left", "zoom in"))


def test_a_trained_network_is_named_by_its_folder(co3d, kinetics, tmp_path):
    (tmp_path / "run").mkdir()
    save_model(create_model("camera_motion"), tmp_path / "run")
    options = ("--data", kinetics.root, "--limit", 2, "--model")
    outcome = co3d("eval", *options, tmp_path / "run", *STREAM, "--output", tmp_path / "e")
    assert outcome.code == 0, outcome.err
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert summary["settings"]["weights"] == "its own"
    assert "No figure is published of these weights" in (tmp_path / "e" / "report.md").read_text()
    layer = ("--layer", "blocks.1", "--format", "numpy", "--output", tmp_path / "f")
    assert co3d("features", *options, tmp_path / "run", *layer).code == 0
    outcome = co3d("eval", *options, "x3d_xs", *STREAM, "--output", tmp_path / "g")
    assert outcome.code == 2
    assert "cannot evaluate x3d_xs: the package bundles no weights" in outcome.err


@pytest.mark.parametrize("edges", ["start", "both"])
def test_an_exported_file_is_evaluated_like_its_network(co3d, kinetics, tmp_path, edges):
    path = tmp_path / "a.safetensors"
    export = ("export", "camera_motion", "--format", "torch", "--edges", edges, "--output", path)
    assert co3d(*export).code == 0
    options = (*STREAM, "--limit", 3)
    expected = evaluate(co3d, kinetics, tmp_path / "a", *options)
    got = evaluate(co3d, kinetics, tmp_path / "b", *options, "--model", path)
    assert got["measures"] == expected["measures"]
    assert got["settings"]["window"] == expected["settings"]["window"]
    rows = [pq.read_table(tmp_path / n / "predictions.parquet").to_pylist() for n in "ab"]
    assert rows[0] == rows[1]


def test_an_int8_file_is_evaluated_in_int8(co3d, kinetics, tmp_path):
    path = tmp_path / "a.onnx"
    video = next(kinetics.root.rglob("valid-0*.mp4"))
    export = ("export", "camera_motion", "--precision", "int8", "--calibrate", video)
    assert co3d(*export, "--calibration-frames", 20, "--output", path).code == 0
    summary = evaluate(co3d, kinetics, tmp_path / "a", "--mode", "stream", "--model", path)
    assert summary["settings"]["precision"] == "int8"
    assert summary["measures"]["last"]["top1"] > 0.7


NETWORK = """
import co3d
def build():
    return co3d.create_model("camera_motion")
def bare():
    model = build()
    del model.card
    return model
def several():
    model = build()
    model.forward = lambda clip: (clip, clip)
    return model
"""


def test_a_network_of_a_users_file_is_evaluated(co3d, kinetics, tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    options = ("--mode", "clip", "--limit", 3)
    expected = evaluate(co3d, kinetics, tmp_path / "a", *options)
    got = evaluate(co3d, kinetics, tmp_path / "b", *options, "--model", f"{tmp_path}/net.py:build")
    assert got["measures"] == expected["measures"]
    arguments = ("--data", kinetics.root, "--output", tmp_path / "c", "--model")
    outcome = co3d("eval", *options, *arguments, f"{tmp_path}/net.py:bare")
    assert outcome.code == 2
    assert "expected a co3d.ModelCard as its attribute `card`" in outcome.err
    outcome = co3d("eval", *options, *arguments, f"{tmp_path}/net.py:several")
    assert outcome.code == 2
    assert "got a tuple for one clip, expected logits" in outcome.err
    layer = ("--layer", "blocks.1", "--format", "numpy", "--limit", 1)
    assert co3d("features", *layer, *arguments, f"{tmp_path}/net.py:build").code == 0


def test_options_that_an_exported_file_lacks_are_refused(co3d, kinetics, tmp_path):
    path = tmp_path / "a.safetensors"
    assert co3d("export", "camera_motion", "--format", "torch", "--output", path).code == 0
    arguments = ("--data", kinetics.root, "--output", tmp_path / "a", "--model", path)
    for options, said in (
        (("--mode", "clip"), "an exported stream has a fixed window"),
        (("--mode", "stream", "--window", 4), "an exported stream has a fixed window"),
        (("--mode", "stream", "--weights", "x"), "an exported file contains its weights"),
    ):
        outcome = co3d("eval", *arguments, *options)
        assert outcome.code == 2
        assert said in outcome.err
    outcome = co3d("features", *arguments, "--layer", "blocks.1")
    assert outcome.code == 2
    assert "has no layers" in outcome.err
