"""Clips over a miniature Kinetics, against the network run by hand."""

import dataclasses

import numpy as np
import pytest
import torch

import co3d
from co3d.datasets.clips import VideoClips
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.sampling import Sampling
from co3d.errors import DataError, OptionError
from co3d.evaluation.clip_mode import ClipEvaluator, parse_views
from co3d.evaluation.jobs import Job, make_jobs
from co3d.models.camera_motion import CAMERA_MOTIONS
from support.miniature import film_motion, write_mp4


def run_by_hand(model, path, starts):
    """Probabilities (V, K) of the 8-frame clips from these frames on."""
    frames = [model.card.preprocess(frame.image) for frame in co3d.read_video(path, rate_hz=8)]
    clips = [torch.stack(frames[start : start + 8], 2) for start in starts]
    with torch.inference_mode():
        return torch.cat([model.card.probabilities(model(clip)) for clip in clips])


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """A manifest of one video, whose views differ: a second of each of two motions."""
    root = tmp_path_factory.mktemp("changing")
    motions = [film_motion(CAMERA_MOTIONS.index(name), 16, 0) for name in ("pan left", "zoom in")]
    write_mp4(root / "a.mp4", np.concatenate(motions))
    entry = VideoEntry("a", "a.mp4", (1,), segments=(Segment(1, 0.0, 0.7),))
    return Manifest(root, CAMERA_MOTIONS, (entry,))


@pytest.mark.parametrize(("views", "starts"), [("1x1", [4]), ("3x1", [0, 4, 8])])
def test_views_are_averaged(changing, model, views, starts):
    (entry,) = changing.entries
    evaluator = ClipEvaluator(changing, model, Sampling(views=parse_views(views)[0]))
    (record,) = evaluator.evaluate([Job(0, entry)])
    expected = run_by_hand(model, changing.resolve(entry), starts).mean(0)
    np.testing.assert_allclose(record.scores["clip"], expected, atol=1e-6)
    assert record.frames == 8 * len(starts)
    assert record.trace is None


def test_of_several_labels_the_largest_view_counts(changing, model):
    (entry,) = changing.entries
    several = dataclasses.replace(changing, multi_label=True)
    evaluator = ClipEvaluator(several, model, Sampling(views=3))
    (record,) = evaluator.evaluate(make_jobs(several, 9))
    expected = run_by_hand(model, several.resolve(entry), [0, 4, 8])
    assert float(expected.amax(0).sum()) > 1.5, "the views must differ"
    np.testing.assert_allclose(record.scores["clip"], expected.amax(0), atol=1e-6)
    # Clips have their middles at 7/16, 15/16 and 23/16 s; the 25 moments lie 2/25 s apart.
    nearest = [0] * 9 + [1] * 6 + [2] * 10
    for row, view in zip(record.moments, nearest, strict=True):
        np.testing.assert_allclose(row, expected[view], atol=1e-6)
    assert record.moment_labels == ((1,),) * 9 + ((),) * 16


def test_bad_videos_are_left_out_or_stop_the_run(manifest, model, jobs, miniature):
    evaluator = ClipEvaluator(manifest, model, Sampling())
    records = list(evaluator.evaluate(jobs))
    assert {r.video_id for r in records if r.error is None} == miniature.readable
    assert [r.index for r in records] == [job.index for job in jobs]
    strict = ClipEvaluator(manifest, model, Sampling(), strict=True)
    with pytest.raises(DataError, match="without --strict"):
        list(strict.evaluate(jobs))


def test_a_short_video_repeats_its_last_frame(manifest, model, jobs, miniature):
    job = next(job for job in jobs if miniature.kinds[job.entry.video_id] == "short")
    (record,) = ClipEvaluator(manifest, model, Sampling()).evaluate([job])
    frames = [model.card.preprocess(f.image) for f in co3d.read_video(manifest.resolve(job.entry))]
    clip = torch.stack([frames[0], *[frames[2]] * 7], 2)  # three frames at 16/s, every second
    with torch.inference_mode():
        expected = model.card.probabilities(model(clip))[0]
    np.testing.assert_allclose(record.scores["clip"], expected, atol=1e-6)


def test_squares_count_like_clips(manifest, model, jobs):
    (record,) = ClipEvaluator(manifest, model, Sampling(views=2, crops=3)).evaluate(jobs[:1])
    dataset = VideoClips(manifest, model.card, Sampling(views=2, crops=3))
    views = torch.stack([dataset[jobs[0].index * 6 + view]["clip"] for view in range(6)])
    with torch.inference_mode():
        expected = model.card.probabilities(model(views)).mean(0)
    np.testing.assert_allclose(record.scores["clip"], expected, atol=1e-6)


@pytest.mark.parametrize("text", ["", "10", "0x1", "3x", "-1x2", "axb", "1x1x1", "99999x1"])
def test_impossible_views_are_refused(text):
    with pytest.raises(OptionError, match="--views 10x3"):
        parse_views(text)
