"""`co3d features` on a miniature: a row per clip or frame, at its time."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from co3d.datasets.clips import VideoClips
from co3d.datasets.layouts import open_dataset
from co3d.datasets.sampling import Sampling
from co3d.evaluation.layer import LayerFeatures
from co3d.models import create_model
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.video import read_video
from support.miniature import make_kinetics

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


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--layer", "block"), 2, "did you mean blocks"),
        (("--layer", "stem", "--backend", "torch"), 2, "--backend: it belongs to the other"),
        (("--layer", "stem", "--mode", "stream", "--clips", "2"), 2, "--clips"),
        (("--layer", "stem", "--limit", "0"), 2, "at least 1"),
        (("--layer", "stem", "--strict"), 16, "without --strict"),
    ],
)
def test_what_cannot_work_is_refused(co3d, kinetics, tmp_path, options, code, message):
    outcome = co3d("features", "--data", kinetics.root, "--output", tmp_path, *options)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert not list(tmp_path.iterdir())
