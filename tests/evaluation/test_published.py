import dataclasses
from pathlib import Path

import pytest

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.evaluation.paper_protocol import make_paper_card
from co3d.evaluation.published import list_published
from co3d.models import get_card
from co3d.models.labels import read_labels
from co3d.weights import find_weights, identify_weights

NAMES = read_labels("kinetics400")
CARD = get_card("x3d_m")
WEIGHTS = find_weights("x3d_m", "kinetics400")
CLIP = {
    "split": "val",
    "mode": "clip",
    "protocol": None,
    "precision": "float32",
    "rate_hz": 6.0,
    "views": "10x3",
    "rule": "pyslowfast",
    "window": None,
    "fill": None,
    "init": None,
    "full_frames": None,
}
STREAM = CLIP | {
    "mode": "stream",
    "protocol": "paper",
    "views": None,
    "rule": None,
    "window": 64,
    "fill": "replicate",
    "init": 91,
    "full_frames": 91,
}
THIRTY, TEN = "Kinetics-400 top-1, 30 views", "Kinetics-400 top-1, 10 views"
PAPER_CLIP = "Kinetics-400 top-1, one clip (arXiv:2106.00050)"
PAPER_STREAM = "Kinetics-400 top-1, stream, window 64 (arXiv:2106.00050)"
PAPER_CARD = make_paper_card(CARD)


def make_kinetics(videos=19_900, classes=400, name="{:011d}_000000_000010"):
    entries = tuple(
        VideoEntry(name.format(n), f"{n}.mp4", (n % classes,), split="val") for n in range(videos)
    )
    return Manifest(Path(), NAMES, entries)


WHOLE = make_kinetics()


def compare(settings, manifest=WHOLE, *, card=CARD, weights=WEIGHTS, evaluated=None):
    evaluated = len(manifest.entries) if evaluated is None else evaluated
    figures = list_published(weights, card, settings, manifest, evaluated=evaluated)
    return {figure.measure: figure.differences for figure in figures}


def test_only_the_same_protocol_has_no_differences():
    figures = compare(CLIP)
    assert figures[THIRTY] == ()
    assert figures[TEN] == ("views 10x3 instead of 10x1",)
    assert figures[PAPER_CLIP] == (
        "views 10x3 instead of 1x1",
        "rule pyslowfast instead of none that its authors state",
    )
    assert next(iter(figures)) == THIRTY
    assert compare(CLIP | {"views": "10x1"})[TEN] == ()
    assert compare(STREAM, card=PAPER_CARD)[PAPER_STREAM] == ()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"mode": "stream"}, "mode stream instead of clip"),
        ({"views": "3x10"}, "views 3x10 instead of 10x3"),
        ({"rule": "time"}, "rule time instead of pyslowfast"),
        ({"rate_hz": 3.0}, "rate 3.0 instead of 6.0"),
        ({"split": None}, "split none instead of val"),
        ({"split": "test"}, "split test instead of val"),
        ({"precision": "bfloat16"}, "precision bfloat16 instead of float32"),
    ],
)
def test_every_difference_of_a_clip_protocol_is_listed(changes, difference):
    assert compare(CLIP | changes)[THIRTY] == (difference,)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"window": 16}, "window 16 instead of 64"),
        ({"fill": "zeros"}, "fill zeros instead of replicate"),
        ({"init": 3}, "init 3 instead of 91"),
        ({"protocol": None}, "protocol none instead of paper"),
        ({"precision": "bfloat16"}, "precision bfloat16 instead of float32"),
    ],
)
def test_every_difference_of_a_stream_protocol_is_listed(changes, difference):
    assert compare(STREAM | changes, card=PAPER_CARD)[PAPER_STREAM] == (difference,)


def test_a_stream_of_the_card_s_own_pictures_is_not_the_paper_s():
    changes = {"protocol": None}
    assert compare(STREAM | changes)[PAPER_STREAM] == (
        "protocol none instead of paper",
        "short side 256 instead of 224",
    )


def test_the_large_network_is_initialised_with_more_frames_than_its_receptive_field():
    card = make_paper_card(get_card("x3d_l"))
    weights = find_weights("x3d_l", "kinetics400")
    settings = STREAM | {"full_frames": 120, "init": 123}
    assert compare(settings, card=card, weights=weights)[PAPER_STREAM] == ()
    (only,) = compare(settings | {"init": 120}, card=card, weights=weights)[PAPER_STREAM]
    assert only == "init 120 instead of 123"


def test_another_size_of_pictures_is_listed_as_a_difference():
    card = dataclasses.replace(CARD, crop_px=112, short_side_px=128)
    assert compare(CLIP, card=card)[THIRTY] == (
        "short side 128 instead of 256",
        "crop 112 instead of 224",
    )


@pytest.mark.parametrize(
    ("manifest", "difference"),
    [
        (make_kinetics(2), "data 2 videos of 2 classes instead of"),
        (make_kinetics(classes=399), "data 19900 videos of 399 classes instead of"),
        (make_kinetics(10_000), "data 10000 videos of 400 classes instead of"),
        (make_kinetics(name="mine/{}"), "data 19900 videos of 400 classes by other names instead"),
    ],
)
def test_another_data_set_is_not_compared_with_kinetics(manifest, difference):
    (only,) = compare(CLIP, manifest)[THIRTY]
    assert only.startswith(difference)
    assert only.endswith("the 20000 of 400 of Kinetics-400")


def test_a_subset_of_the_videos_is_not_compared_with_the_whole():
    assert compare(CLIP, evaluated=100)[THIRTY] == ("100 of 19900 videos evaluated",)


def test_weights_of_unknown_origin_have_no_published_accuracy(tmp_path, monkeypatch):
    assert list_published(None, CARD, CLIP, WHOLE, evaluated=1) == []
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "x3d_m.pyth"
    mine.write_bytes(b"by the name of the published file")
    assert identify_weights("x3d_m", mine) is None
    assert identify_weights("x3d_m", "random") is None
    assert identify_weights("x3d_m", None) is None
    assert identify_weights("x3d_m", "kinetics400") == WEIGHTS
    fetched = tmp_path / "cache" / "kinetics400" / "x3d_m.pyth"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(mine.read_bytes())
    assert identify_weights("x3d_m", tmp_path / "x3d_m.pyth") == WEIGHTS
    fetched.write_bytes(b"other")
    assert identify_weights("x3d_m", mine) is None
