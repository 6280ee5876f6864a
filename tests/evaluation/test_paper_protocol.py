"""The protocol of the CoX3D table, against indices, pictures and a network worked out by hand."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import co3d
from co3d.evaluation.paper_protocol import (
    choose_paper_indices,
    count_init_frames,
    make_paper_card,
    read_paper_frames,
)
from co3d.evaluation.stream_mode import StreamEvaluator
from co3d.models import get_card

INIT = 11  # frames that fill the network: a delay of 4, and 8 feature frames less one
RATE_HZ, VIDEO_RATE_HZ = 8, 16


def sample_by_hand(total, video_rate, rate, frames):
    """Decode from the middle on, then take steps of a little more than the ratio of the rates."""
    size = frames * video_rate / rate
    start = math.ceil(max(0, total / 2 - size / 2))
    steps = [i * (size - 1) / (frames - 1) for i in range(frames)]
    return [min(int(start + step), total - 1) for step in steps]


def prepare_by_hand(image, side):
    """Short side to the crop, then the middle; no antialiasing."""
    height, width = image.shape[:2]
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float()
    if height <= width:
        size = (side, round(width * side / height))
    else:
        size = (round(height * side / width), side)
    scaled = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return (scaled[:, :, top : top + side, left : left + side].round() / 255 - 0.45) / 0.225


def predict_by_hand(model, frames):
    """Clip network on the frames after many copies of the first: the last 8 settled features."""
    copies = 20
    clip = torch.stack([frames[0]] * copies + frames, 2)
    with torch.inference_mode():
        features = model.features(clip)  # of these, the last 4 see the padding at the end
        return model.classify(features[:, :, -4 - 8 : -4]).softmax(-1)[0].numpy()


@pytest.fixture(scope="module")
def records(manifest, model, program, jobs):
    evaluator = StreamEvaluator(
        manifest,
        make_paper_card(model.card),
        co3d.compile(program, backend="torch"),
        fill="replicate",
        rate_hz=RATE_HZ,
        init_frames=INIT,
        read=partial(read_paper_frames, frames=INIT + 1),
    )
    return {record.video_id: record for record in evaluator.evaluate(jobs)}


@pytest.mark.parametrize("kind", ["valid", "long", "short", "rotated"])
def test_the_prediction_equals_a_calculation_by_hand(records, miniature, manifest, model, kind):
    video_id = next(v for v, k in miniature.kinds.items() if k == kind)
    entry = next(e for e in manifest.entries if e.video_id == video_id)
    images = [frame.image for frame in co3d.read_video(manifest.resolve(entry))]
    indices = sample_by_hand(len(images), VIDEO_RATE_HZ, RATE_HZ, INIT + 1)
    expected = predict_by_hand(model, [prepare_by_hand(images[i], 64) for i in indices])
    record = records[video_id]
    assert record.frames == INIT + 1
    np.testing.assert_allclose(record.scores["warm"], expected, rtol=1e-4, atol=1e-6)
    assert record.scores["warm"] == record.scores["last"]
    shown = [index / VIDEO_RATE_HZ for index in indices]
    np.testing.assert_allclose(record.trace.pts_seconds, shown, atol=1e-6)


def test_bad_videos_are_left_out(records, miniature):
    good = {video_id for video_id, record in records.items() if record.error is None}
    assert good == miniature.readable


def test_ten_seconds_at_five_frames_a_second_repeat_their_last_frame():
    """92 frames of every sixth take 552: the 300 that there are end after fifty."""
    indices = choose_paper_indices(np.arange(300) / 30, 92, 5.0, 30.0)
    assert indices.tolist() == [min(int(i * 551 / 91), 299) for i in range(92)]
    assert (indices == 299).sum() == 42


def test_a_clip_shorter_than_the_video_is_taken_from_its_middle():
    indices = choose_paper_indices(np.arange(300) / 30, 44, 6.0, 30.0)
    assert (indices[0], indices[-1]) == (40, 259)


def test_clips_are_sampled_by_the_rate_of_the_video():
    """At 25 frames/s the same time has fewer frames; the mean stands for an unstated rate."""
    times = np.arange(250) / 25
    indices = choose_paper_indices(times, 41, 5.0, 25.0)
    assert (indices[0], indices[-1]) == (23, 227)
    assert choose_paper_indices(times, 41, 5.0).tolist() == indices.tolist()


@pytest.mark.parametrize(
    ("name", "window", "full", "init"),
    [("x3d_s", 64, 91, 91), ("x3d_m", 64, 91, 91), ("x3d_l", 64, 120, 123), ("x3d_m", 16, 43, 43)],
)
def test_as_many_frames_initialise_as_in_the_paper_s_code(name, window, full, init):
    assert count_init_frames(name, window, full) == init


def test_the_crop_is_the_whole_short_side():
    card = make_paper_card(get_card("x3d_m"))
    assert (card.short_side_px, card.crop_px, card.antialias) == (224, 224, False)
