"""`co3d features` on a miniature: a row per clip or frame, at its time."""

import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from co3d.compiler import convert
from co3d.datasets.clips import VideoClips
from co3d.datasets.layouts import open_dataset
from co3d.datasets.sampling import Sampling
from co3d.evaluation.feature_store import FeatureStore
from co3d.evaluation.layer import LayerFeatures
from co3d.models import create_model
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.runtime import open_stream
from co3d.video import read_video
from support.miniature import make_kinetics

PATIENCE_SECONDS = 120
KINDS = ("valid", "short", "broken")


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinetics")
    return make_kinetics(root, classes=("pan left", "zoom in"), per_class=3, kinds=KINDS, missing=0)


def extract(co3d, miniature, output, *options):
    outcome = co3d("features", "--data", miniature.root, "--output", output, "--json", *options)
    assert outcome.code == 0, outcome.err
    (result,) = outcome.lines
    assert (output / "features.png").read_bytes().startswith(b"\x89PNG")
    return result


def test_a_row_per_clip(co3d, kinetics, tmp_path):
    result = extract(co3d, kinetics, tmp_path, "--layer", "blocks.1", "--clips", 3)
    assert result["rows"] == 12
    assert result["channels"] == 64
    assert set(result["excluded"]) == {v for v, kind in kinetics.kinds.items() if kind == "broken"}
    rows = pq.read_table(tmp_path / "features.parquet").to_pylist()
    manifest = open_dataset(kinetics.root, classes=CAMERA_MOTIONS)
    model = create_model("camera_motion")
    clips = VideoClips(manifest, model.card, Sampling(views=3))
    network = LayerFeatures(model, "blocks.1")
    number = next(i for i, e in enumerate(manifest.entries) if e.video_id == rows[0]["video_id"])
    for view in range(3):
        with torch.inference_mode():
            expected = network(clips[3 * number + view]["clip"][None]).mean(2)[0]
        np.testing.assert_allclose(rows[view]["features"], expected, atol=1e-5)
    assert [row["start_seconds"] for row in rows[:3]] == [0.0, 0.5, 1.0]
    assert [row["end_seconds"] for row in rows[:3]] == [0.875, 1.375, 1.875]
    assert rows[0]["labels"] == list(kinetics.labels[rows[0]["video_id"]])


def test_a_row_per_frame_at_the_time_that_it_describes(co3d, kinetics, tmp_path):
    options = ("--layer", "blocks.1", "--mode", "stream", "--backend", "torch")
    result = extract(co3d, kinetics, tmp_path, *options, "--format", "numpy")
    assert len(result["excluded"]) == 4  # short ones end before the layer says anything
    with np.load(tmp_path / "features.npz") as archive:
        arrays = dict(archive)
    assert arrays["features"].shape == (2 * 13, 64)  # 16 frames each, described 3 later
    assert arrays["start_seconds"].tolist() == [i / 8 for i in range(13)] * 2
    assert arrays["label"].tolist() == [1] * 13 + [5] * 13
    video_id = str(arrays["video_id"][0])
    model = create_model("camera_motion")
    manifest = open_dataset(kinetics.root, classes=CAMERA_MOTIONS)
    path = manifest.resolve(next(e for e in manifest.entries if e.video_id == video_id))
    frames = [model.card.preprocess(frame.image) for frame in read_video(path, rate_hz=8)]
    with torch.inference_mode():
        whole = LayerFeatures(model, "blocks.1")(torch.stack(frames, 2))[0].T
    # A clip knows its end, a stream does not: until then they agree.
    np.testing.assert_allclose(arrays["features"][:13], whole[:13], atol=1e-4)
    program = convert(LayerFeatures(model, "blocks.1"), model.card.clip_shape)
    stream = open_stream(program, backend="torch")
    alone = torch.cat([stream.step(frame).output for frame in frames])[program.delay :]
    np.testing.assert_array_equal(arrays["features"][:13], alone)


def test_a_killed_run_resumes_without_repeating_or_losing_a_video(
    co3d, kinetics, spawn_co3d, tmp_path
):
    options = ("--layer", "blocks.1", "--clips", 3)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    extract(co3d, kinetics, whole, *options)
    process = spawn_co3d("features", "--data", kinetics.root, "--output", killed, *options)
    parts = killed / "parts"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(parts.glob("[0-9]*.npz")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = len(list(parts.glob("[0-9]*.npz")))
    assert done < 4, "the kill came too late to prove anything"
    assert not list(killed.glob("features*"))
    result = extract(co3d, kinetics, killed, *options)
    assert result["resumed"] == done
    tables = [pq.read_table(folder / "features.parquet").to_pylist() for folder in (whole, killed)]
    assert [row.pop("features") for row in tables[0]] == [
        pytest.approx(row.pop("features"), abs=1e-5) for row in tables[1]
    ]
    assert tables[0] == tables[1]
    assert not parts.exists()


def test_a_stopped_run_keeps_finished_videos(co3d, kinetics, tmp_path, monkeypatch):
    add = FeatureStore.add

    def add_and_interrupt(self, features):
        add(self, features)
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureStore, "add", add_and_interrupt)
    arguments = ("features", "--data", kinetics.root, "--output", tmp_path, "--layer", "stem")
    outcome = co3d(*arguments)
    assert outcome.code == 130
    assert "to continue with the remaining videos" in outcome.err
    monkeypatch.undo()
    outcome = co3d(*arguments, "--clips", 2)
    assert outcome.code == 2
    assert "clips 1, now 2" in outcome.err
    (part,) = (tmp_path / "parts").glob("[0-9]*.npz")
    part.write_bytes(part.read_bytes()[:100])  # a power cut: it is not taken for done
    outcome = co3d(*arguments, "--strict")
    assert outcome.code == 16
    assert "without --strict" in outcome.err
    assert extract(co3d, kinetics, tmp_path, "--layer", "stem")["resumed"] == 2


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--layer", "block"), 2, "did you mean blocks"),
        (("--layer", "stem", "--backend", "torch"), 2, "--backend: it belongs to streams"),
        (("--layer", "stem", "--mode", "stream", "--clips", "2"), 2, "--clips"),
        (("--layer", "stem", "--limit", "0"), 2, "at least 1"),
    ],
)
def test_impossible_options_are_refused(co3d, kinetics, tmp_path, options, code, message):
    outcome = co3d("features", "--data", kinetics.root, "--output", tmp_path, *options)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert not list(tmp_path.iterdir())
