import dataclasses
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pytest
import torch

from co3d.engine import open_labeller
from co3d.errors import DamagedVideoError, OptionError, UnknownModelError
from co3d.video import read_video
from support.videos import (
    cut_short,
    list_decodable_times,
    open_reader,
    write_video,
    write_video_with_gap,
)


def test_the_last_frame_of_a_clip_gets_the_answer_of_the_clip_network(labeller, clip_video):
    frames = [labeller.card.preprocess(frame.image) for frame in open_reader(clip_video)]
    assert len(frames) == labeller.card.clip_frames
    with torch.inference_mode():
        logits = labeller.model(torch.stack(frames, dim=2))
    expected = labeller.card.probabilities(logits)[0].numpy()

    predictions = list(labeller.label(open_reader(clip_video)))

    assert [p.valid for p in predictions] == [False] * 7 + [True]
    np.testing.assert_allclose(predictions[-1].probabilities, expected, rtol=1e-4)
    label, probability = predictions[-1].top[0]
    assert label == labeller.labels[int(expected.argmax())]
    assert probability == pytest.approx(float(expected.max()), rel=1e-4)


@pytest.mark.parametrize("frames", [1, 3, 8, 9, 10, 41])
def test_every_sampled_frame_is_described_once_and_in_order(labeller, tmp_path, frames):
    path = write_video(tmp_path / "video.mp4", frames)
    sampled = list(open_reader(path))
    predictions = list(labeller.label(open_reader(path)))
    assert [p.frame.index for p in predictions] == [frame.index for frame in sampled]
    for prediction, frame in zip(predictions, sampled, strict=True):
        assert np.array_equal(prediction.frame.image, frame.image)


def test_predictions_come_as_late_as_the_delay_until_the_flush(labeller, tmp_path):
    path = write_video(tmp_path / "video.mp4", 40)
    predictions = list(labeller.label(open_reader(path)))
    lags = [p.seen_pts_seconds - p.frame.pts_seconds for p in predictions]
    delay_seconds = labeller.program.delay / labeller.card.rate_hz
    assert lags[: -labeller.program.delay] == pytest.approx([delay_seconds] * 16)
    assert lags[-labeller.program.delay :] == pytest.approx([0.375, 0.25, 0.125, 0.0])


def test_latency_is_preprocessing_and_step(labeller, clip_video):
    for prediction in labeller.label(open_reader(clip_video)):
        assert prediction.step_ms > 0
        assert prediction.latency_ms == prediction.preprocess_ms + prediction.step_ms


def test_probabilities_sum_to_one_and_top_is_sorted(labeller, clip_video):
    for prediction in labeller.label(open_reader(clip_video)):
        assert prediction.probabilities.shape == (9,)
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
        values = [probability for _, probability in prediction.top]
        assert values == sorted(values, reverse=True)
        assert len(values) == 3


def test_a_damaged_video_is_labelled_as_far_as_it_decodes(labeller, tmp_path):
    whole = write_video(tmp_path / "whole.mkv", 64)
    damaged = cut_short(whole, tmp_path / "damaged.mkv")
    times, predictions = list_decodable_times(damaged), []
    assert 0 < len(times) < 64
    with pytest.raises(DamagedVideoError, match=f"{len(times)} frames were delivered"):
        predictions.extend(labeller.label(open_reader(damaged)))
    # Eight a second, each the latest there is.
    wanted = [bisect_right(times, step / 8 + 1e-3) - 1 for step in range(int(times[-1] * 8) + 1)]
    assert [p.frame.index for p in predictions] == wanted


def test_a_source_without_an_end_is_not_flushed(clip_video):
    labeller = open_labeller(weights="random", has_end=False)
    predictions = list(labeller.label(open_reader(clip_video)))
    assert len(predictions) == labeller.card.clip_frames - labeller.program.delay


@pytest.fixture(scope="module")
def broken_video(tmp_path_factory) -> Path:
    """A video of three seconds of pictures, a gap of an hour, and three more seconds."""
    return write_video_with_gap(tmp_path_factory.mktemp("engine") / "broken.mp4", 3600)


def test_a_gap_resets_the_network(labeller, broken_video, tmp_path):
    part = write_video(tmp_path / "part.mp4", 48)
    expected = list(labeller.label(read_video(part, rate_hz=8)))
    predictions = list(labeller.label(read_video(broken_video, rate_hz=8, gap="reset")))
    assert [p.valid for p in predictions] == [p.valid for p in expected] * 2
    assert [p.gap_seconds for p in predictions if p.gap_seconds] == [pytest.approx(3600.125)]
    assert predictions[24].gap_seconds > 0
    assert predictions[23].seen_pts_seconds == pytest.approx(2.875)
    for prediction, wanted in zip(predictions[:24], expected, strict=True):
        np.testing.assert_allclose(prediction.probabilities, wanted.probabilities, atol=0.02)


def test_a_gap_may_be_kept(labeller, broken_video):
    predictions = list(labeller.label(read_video(broken_video, rate_hz=8, gap="keep")))
    assert [p.valid for p in predictions] == [False] * 7 + [True] * 41
    assert predictions[24].gap_seconds == pytest.approx(3600.125)


def test_before_a_gap_a_source_without_an_end_is_not_flushed(broken_video):
    labeller = open_labeller(weights="random", has_end=False)
    predictions = list(labeller.label(read_video(broken_video, rate_hz=8, gap="reset")))
    delay = labeller.program.delay
    assert [p.frame.index for p in predictions] == [
        *range(0, 2 * (24 - delay), 2),
        *range(48, 48 + 2 * (24 - delay), 2),
    ]


def test_an_error_after_a_gap_comes_after_all_predictions(labeller, tmp_path):
    whole = write_video_with_gap(tmp_path / "whole.mkv", 3600)
    damaged = cut_short(whole, tmp_path / "damaged.mkv", 0.8)
    sampled, predictions = [], []
    with pytest.raises(DamagedVideoError):
        sampled.extend(read_video(damaged, rate_hz=8, gap="reset"))
    with pytest.raises(DamagedVideoError):
        predictions.extend(labeller.label(read_video(damaged, rate_hz=8, gap="reset")))
    assert 24 < len(sampled) < 48
    assert [p.frame.index for p in predictions] == [frame.index for frame in sampled]


@pytest.mark.parametrize("window", [1, 2, 8, 32])
def test_a_prediction_has_the_time_of_its_windows_start(tmp_path, window):
    labeller = open_labeller(weights="random", window=window)
    path = write_video(tmp_path / "video.mp4", 96)
    predictions = list(labeller.label(open_reader(path)))
    times = [p.frame.pts_seconds for p in predictions]
    expected = [times[max(0, n - window + 1)] for n in range(len(times))]
    assert [p.from_pts_seconds for p in predictions] == expected
    assert [p.valid for p in predictions] == [n >= window - 1 for n in range(len(times))]


def test_after_a_gap_the_window_begins_after_it(labeller, broken_video):
    predictions = list(labeller.label(read_video(broken_video, rate_hz=8, gap="reset")))
    after = predictions[24:]
    assert all(p.from_pts_seconds >= after[0].frame.pts_seconds for p in after)


def test_labels_below_the_threshold_are_left_out(labeller, clip_video):
    plain = list(labeller.label(open_reader(clip_video)))
    threshold = plain[-1].top[1][1]
    strict = dataclasses.replace(labeller, threshold=threshold)
    for prediction, wanted in zip(strict.label(open_reader(clip_video)), plain, strict=True):
        assert prediction.top == tuple(pair for pair in wanted.top if pair[1] >= threshold)
        np.testing.assert_array_equal(prediction.probabilities, wanted.probabilities)
    assert len(prediction.top) == 2
    assert prediction.label == wanted.top[0][0]
    certain = dataclasses.replace(labeller, threshold=1.0)
    last = list(certain.label(open_reader(clip_video)))[-1]
    assert (last.top, last.label) == ((), None)
    assert last.why_unlabelled == "no label reaches the threshold"


def test_smoothing_averages_over_time_and_a_gap_resets_it(labeller, broken_video):
    plain = list(labeller.label(read_video(broken_video, rate_hz=8, gap="reset")))
    smooth = dataclasses.replace(labeller, smooth_seconds=0.5)
    smoothed = list(smooth.label(read_video(broken_video, rate_hz=8, gap="reset")))
    share = 1 - np.exp(-0.125 / 0.5)
    expected: np.ndarray | None = None
    for prediction, raw in zip(smoothed, plain, strict=True):
        if not raw.valid or expected is None:
            expected = raw.probabilities if raw.valid else None
            np.testing.assert_array_equal(prediction.probabilities, raw.probabilities)
        else:
            expected = expected + share * (raw.probabilities - expected)
            np.testing.assert_allclose(prediction.probabilities, expected, rtol=1e-5)
            assert prediction.top[0][1] == pytest.approx(float(expected.max()), rel=1e-5)
    assert sum(p.valid for p in smoothed) == 34


def test_a_kept_gap_ends_smoothing_too(labeller, broken_video):
    plain = list(labeller.label(read_video(broken_video, rate_hz=8, gap="keep")))
    smooth = dataclasses.replace(labeller, smooth_seconds=5.0)
    smoothed = list(smooth.label(read_video(broken_video, rate_hz=8, gap="keep")))
    for number in (7, 24):  # the first valid one, and the one after the gap
        np.testing.assert_array_equal(smoothed[number].probabilities, plain[number].probabilities)
    assert not np.array_equal(smoothed[25].probabilities, plain[25].probabilities)


@pytest.mark.parametrize(
    "options", [{"threshold": 50.0}, {"threshold": -0.1}, {"smooth_seconds": -1.0}]
)
def test_thresholds_and_smoothing_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="expected 0"):
        open_labeller(weights="random", **options)


def test_window_reaches_the_program(clip_video):
    labeller = open_labeller(weights="random", window=2)
    predictions = list(labeller.label(open_reader(clip_video)))
    assert [p.valid for p in predictions] == [False] + [True] * 7


@pytest.mark.parametrize("top_k", [0, 10])
def test_top_k_outside_the_classes_is_refused(top_k):
    with pytest.raises(OptionError, match="--top 9"):
        open_labeller(weights="random", top_k=top_k)


def test_top_k_may_be_all_classes(clip_video):
    labeller = open_labeller(weights="random", top_k=9)
    assert all(len(p.top) == 9 for p in labeller.label(open_reader(clip_video)))


def test_a_model_without_bundled_weights_asks_for_some():
    with pytest.raises(OptionError, match="--weights kinetics400"):
        open_labeller("x3d_xs")


def test_an_unknown_model_is_named_with_the_nearest():
    with pytest.raises(UnknownModelError, match="camera_motion"):
        open_labeller("camera_motoin")


def test_predictions_are_immutable(labeller, clip_video):
    prediction = next(iter(labeller.label(open_reader(clip_video))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.valid = True
