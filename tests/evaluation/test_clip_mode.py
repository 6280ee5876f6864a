"""Clips over a miniature Kinetics, against the network run by hand."""

import numpy as np
import pytest
import torch

import co3d
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.errors import DataError, OptionError
from co3d.evaluation.clip_mode import ClipEvaluator, Views, preprocess_views, spread_clips
from co3d.evaluation.jobs import make_jobs
from co3d.models.camera_motion import CAMERA_MOTIONS


def run_by_hand(model, path, starts):
    """Probabilities (V, K) of the 8-frame clips from these frames on."""
    frames = [model.card.preprocess(frame.image) for frame in co3d.read_video(path, rate_hz=8)]
    clips = [torch.stack(frames[start : start + 8], 2) for start in starts]
    with torch.inference_mode():
        return torch.cat([model.card.probabilities(model(clip)) for clip in clips])


@pytest.mark.parametrize(("views", "starts"), [("1x1", [4]), ("3x1", [0, 4, 8])])
def test_views_are_averaged(manifest, model, jobs, views, starts):
    evaluator = ClipEvaluator(manifest, model, views=Views.parse(views), rate_hz=8.0)
    (record,) = evaluator.evaluate(jobs[:1])
    expected = run_by_hand(model, manifest.resolve(jobs[0].entry), starts).mean(0)
    np.testing.assert_allclose(record.scores["clip"], expected, atol=1e-6)
    assert record.frames == 16
    assert record.trace is None


def test_of_several_labels_the_largest_view_counts(manifest, model, jobs):
    entry = VideoEntry("a", jobs[0].entry.path, (1,), segments=(Segment(1, 0.0, 0.7),))
    several = Manifest(manifest.root, CAMERA_MOTIONS, (entry,), multi_label=True)
    evaluator = ClipEvaluator(several, model, views=Views(3), rate_hz=8.0)
    (record,) = evaluator.evaluate(make_jobs(several, 9))
    expected = run_by_hand(model, several.resolve(entry), [0, 4, 8])
    np.testing.assert_allclose(record.scores["clip"], expected.amax(0), atol=1e-6)
    # Clips have their middles at 7/16, 15/16 and 23/16 s; the 25 moments lie 2/25 s apart.
    nearest = [0] * 9 + [1] * 6 + [2] * 10
    for row, view in zip(record.moments, nearest, strict=True):
        np.testing.assert_allclose(row, expected[view], atol=1e-6)
    assert record.moment_labels == ((1,),) * 9 + ((),) * 16


def test_bad_videos_are_left_out_or_stop_the_run(manifest, model, jobs, miniature):
    evaluator = ClipEvaluator(manifest, model, views=Views(), rate_hz=8.0)
    records = list(evaluator.evaluate(jobs))
    assert {r.video_id for r in records if r.error is None} == miniature.readable
    assert [r.index for r in records] == [job.index for job in jobs]
    strict = ClipEvaluator(manifest, model, views=Views(), rate_hz=8.0, strict=True)
    with pytest.raises(DataError, match="without --strict"):
        list(strict.evaluate(jobs))


@pytest.mark.parametrize(
    ("frames", "count", "starts"),
    [(20, 1, [6]), (20, 2, [0, 12]), (20, 4, [0, 4, 8, 12]), (8, 3, [0, 0, 0])],
)
def test_clips_are_spread_evenly(frames, count, starts):
    clips = spread_clips(frames, 8, count)
    assert clips == [list(range(start, start + 8)) for start in starts]


def test_a_short_video_repeats_its_last_frame():
    assert spread_clips(3, 5, 1) == [[0, 1, 2, 2, 2]]


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (40, 40)])
def test_squares_lie_along_the_longer_side(model, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    squares = preprocess_views(model.card, image, 3)
    assert squares.shape == (3, 3, 64, 64)
    ends = (image[:40, :40], image[-40:, -40:])
    for square, end in zip((squares[0], squares[2]), ends, strict=True):
        torch.testing.assert_close(square, model.card.preprocess(end)[0])
    middle = image[(shape[0] - 40) // 2 :, (shape[1] - 40) // 2 :][:40, :40]
    torch.testing.assert_close(squares[1], model.card.preprocess(middle)[0])
    torch.testing.assert_close(preprocess_views(model.card, image, 1), model.card.preprocess(image))


@pytest.mark.parametrize("text", ["", "10", "0x1", "3x", "-1x2", "axb", "1x1x1", "99999x1"])
def test_views_that_make_no_sense_are_refused(text):
    with pytest.raises(OptionError, match="--views 10x3"):
        Views.parse(text)
