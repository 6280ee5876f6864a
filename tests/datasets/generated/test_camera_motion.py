"""Generated clips: repeatable, balanced, of the right shape, and named for what the camera did."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.datasets.generated.camera_motion import (
    REVERSED,
    CameraMotionClips,
    add_reversed,
    draw_clips,
    draw_labels,
    draw_streams,
)
from co3d.datasets.generated.canvases import CANVAS_PX, build_canvases
from co3d.models.camera_motion import CAMERA_MOTION_CARD, CAMERA_MOTIONS


@pytest.fixture(scope="module")
def canvases():
    return build_canvases("train", crops_per_photograph=1, textures_per_kind=1)


def clips_of(canvases, seed, count=5, frames=8):
    return draw_clips(canvases, count, torch.Generator().manual_seed(seed), frames)


def test_canvases_repeat_with_their_seed_and_differ_between_splits():
    first, again = (build_canvases("validation", 3, 1, 1) for _ in range(2))
    assert first.dtype == torch.uint8
    assert first.shape[1:] == (3, CANVAS_PX, CANVAS_PX)
    assert torch.equal(first, again)
    assert not torch.equal(first, build_canvases("validation", 4, 1, 1))
    textures = {split: build_canvases(split, 3, 0, 1) for split in ("train", "validation", "test")}
    for other in ("validation", "test"):
        same = (textures["train"] == textures[other]).flatten(1).all(1)
        assert not same.any(), "a held-out texture is in the training data"


@given(count=st.integers(1, 9), frames=st.integers(1, 16), seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_clips_have_the_shape_of_the_model_card(canvases, count, frames, seed):
    batch = clips_of(canvases, seed, count, frames)
    side = CAMERA_MOTION_CARD.crop_px
    assert batch.clips.shape == (count, 3, frames, side, side)
    assert batch.clips.dtype == torch.float32
    pixels = batch.clips * CAMERA_MOTION_CARD.std[0] + CAMERA_MOTION_CARD.mean[0]
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert batch.labels.min() >= 0
    assert batch.labels.max() < len(CAMERA_MOTIONS)


def test_clips_repeat_with_their_seed(canvases):
    first, again, other = (clips_of(canvases, seed) for seed in (1, 1, 2))
    assert torch.equal(first.clips, again.clips)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.clips, other.clips)


@given(count=st.integers(1, 200), seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_labels_are_balanced(count, seed):
    labels = draw_labels(count, torch.Generator().manual_seed(seed))
    counts = torch.bincount(labels, minlength=len(CAMERA_MOTIONS))
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == count


def test_a_clip_played_backwards_has_the_opposite_name(canvases):
    opposites = [("left", "right"), ("up", "down"), ("in", "out")]
    for label, other in enumerate(REVERSED.tolist()):
        first, second = CAMERA_MOTIONS[label].split(), CAMERA_MOTIONS[other].split()
        assert first[0] == second[0]
        if len(first) == 1:
            assert label == other
        else:
            pair = (first[1], second[1])
            turns = {"clockwise", "counter-clockwise"}
            assert set(pair) == turns or pair in opposites or pair[::-1] in opposites
    batch = clips_of(canvases, 0)
    both = add_reversed(batch)
    assert torch.equal(both.clips[5:], batch.clips.flip(2))
    assert torch.equal(both.labels[5:], REVERSED[batch.labels])


def test_training_batches_repeat_and_hold_the_promised_number_of_frames(canvases):
    data = CameraMotionClips(canvases, 4, 96, clip_lengths=(8, 12))
    assert len(data) == 4
    lengths = set()
    for seed in range(6):
        first, again = data.draw(seed), data.draw(seed)
        assert torch.equal(first.clips, again.clips)
        assert first.clips.shape[0] * first.clips.shape[2] == 96
        assert len(first.labels) == len(first.clips)
        lengths.add(first.clips.shape[2])
    assert lengths == {8, 12}


def test_streams_have_a_label_for_every_frame(canvases):
    batch = draw_streams(canvases, 2, torch.Generator().manual_seed(0), frames=40)
    assert batch.clips.shape == (2, 3, 40, 64, 64)
    assert batch.labels.shape == (2, 40)
    assert (batch.labels[:, 1:] != batch.labels[:, :-1]).any(1).all(), "no motion ever changes"
