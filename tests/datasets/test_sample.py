"""The bundled sample: its truth fits its video, and its photograph was never trained on."""

import itertools
import json
from importlib import resources

import av
import pytest

from co3d.datasets.generated.photographs import PHOTOGRAPHS
from co3d.models.camera_motion import CAMERA_MOTIONS

ASSETS = resources.files("co3d") / "assets"


@pytest.fixture(scope="module")
def truth():
    return json.loads((ASSETS / "sample.json").read_text())


def test_the_truth_names_every_motion_without_gaps(truth):
    assert {segment["label"] for segment in truth} == set(CAMERA_MOTIONS)
    assert truth[0]["start_seconds"] == 0
    for before, after in itertools.pairwise(truth):
        assert before["end_seconds"] == after["start_seconds"]
        assert before["label"] != after["label"]
    assert all(segment["end_seconds"] > segment["start_seconds"] for segment in truth)


def test_the_truth_lasts_as_long_as_the_video(truth):
    with (ASSETS / "sample.mp4").open("rb") as file, av.open(file) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
        interval = 1 / float(stream.average_rate)
    assert times[0] == pytest.approx(0, abs=1e-3)
    assert times[-1] + interval == pytest.approx(truth[-1]["end_seconds"], abs=interval / 2)
    assert len(times) == round(truth[-1]["end_seconds"] / interval)


def test_the_video_is_at_most_a_megabyte():
    assert len((ASSETS / "sample.mp4").read_bytes()) <= 1_000_000


def test_its_photograph_is_held_out_and_in_the_public_domain():
    notice = (ASSETS / "sample.txt").read_text()
    assert "Public domain" in notice
    assert [name for name in PHOTOGRAPHS["train"] if name in notice] == []
    assert [name for name in PHOTOGRAPHS["test"] if name in notice] == ["skimage/astronaut.png"]
