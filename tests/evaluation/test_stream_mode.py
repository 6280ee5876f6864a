"""Streams over a miniature Kinetics, against stepping by hand."""

import dataclasses
import functools
import threading

import numpy as np
import pytest
import torch

import co3d
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.errors import DataError
from co3d.evaluation.frames import read_entry
from co3d.evaluation.jobs import Job, make_jobs
from co3d.evaluation.transient import MILESTONES
from co3d.models.camera_motion import CAMERA_MOTIONS
from support.miniature import write_mp4


@pytest.fixture(scope="module")
def records(open_evaluator, jobs):
    return {record.video_id: record for record in open_evaluator().evaluate(jobs)}


@pytest.fixture(scope="module")
def step_by_hand(model, program):
    return functools.partial(_step_by_hand, model, program)


def _step_by_hand(model, program, path, *, copies=0):
    """Probabilities (T, K) at every step, and which were valid."""
    stream = co3d.open_stream(program, backend="torch")
    frames = [model.card.preprocess(frame.image) for frame in co3d.read_video(path, rate_hz=8)]
    for _ in range(copies):
        stream.step(frames[0])
    results = [stream.step(frame) for frame in frames]
    probabilities = torch.cat([model.card.probabilities(r.output) for r in results])
    return probabilities.numpy(), [bool(r.valid[0]) for r in results]


def test_readable_videos_are_evaluated_and_unreadable_ones_left_out(records, miniature):
    assert set(records) == set(miniature.kinds)
    good = {video_id for video_id, record in records.items() if record.error is None}
    assert good == miniature.readable
    for video_id, record in records.items():
        assert record.labels == miniature.labels[video_id]
        if record.error is not None:
            assert record.scores == {}
            assert record.trace is None
    errors = {miniature.kinds[v]: r.error.split(":")[0] for v, r in records.items() if r.error}
    assert errors["empty"] == "EmptyVideoError"
    assert errors["missing"] == "SourceNotFoundError"


def test_predictions_equal_those_of_a_stream_of_one_video(
    records, miniature, manifest, step_by_hand
):
    for kind in ("valid", "long", "short", "rotated", "variable"):
        video_id = next(v for v, k in miniature.kinds.items() if k == kind)
        entry = next(e for e in manifest.entries if e.video_id == video_id)
        expected, valid = step_by_hand(manifest.resolve(entry))
        record = records[video_id]
        assert record.frames == len(expected)
        assert record.trace.labels.tolist() == expected.argmax(1).tolist()
        np.testing.assert_array_equal(record.trace.confidences, expected.max(1))
        first_valid = valid.index(True) if any(valid) else len(valid)
        assert record.trace.first_valid == first_valid
        np.testing.assert_array_equal(record.scores["last"], expected[-1])
        warm = expected[min(first_valid, len(expected) - 1)]
        np.testing.assert_array_equal(record.scores["warm"], warm)


def test_a_short_video_has_a_prediction_without_a_valid_step(records, miniature):
    video_id = next(v for v, kind in miniature.kinds.items() if kind == "short")
    record = records[video_id]
    assert record.trace.first_valid == record.frames < 12
    assert record.milestones == ()  # one class a video: the trace says as much
    assert record.scores["warm"] == record.scores["last"]


@pytest.mark.parametrize("at_once", [1, 5])
def test_results_do_not_depend_on_how_many_videos_run_at_once(
    records, open_evaluator, jobs, at_once
):
    others = list(open_evaluator(at_once=at_once).evaluate(jobs))
    assert {record.video_id: record for record in others} == records
    if at_once == 1:
        assert [record.index for record in others] == [job.index for job in jobs]


def test_replicate_repeats_the_first_frame_until_the_receptive_field_is_full(
    open_evaluator, jobs, manifest, program, step_by_hand
):
    job = jobs[0]
    (record,) = open_evaluator(fill="replicate").evaluate([job])
    field = program.receptive_field
    expected, _ = step_by_hand(manifest.resolve(job.entry), copies=field - 1)
    more, _ = step_by_hand(manifest.resolve(job.entry), copies=field + 7)
    np.testing.assert_allclose(expected, more, atol=1e-5)  # any more copies change nothing
    np.testing.assert_allclose(record.trace.confidences, expected.max(1), atol=1e-5)
    assert record.trace.first_valid == 0
    assert record.frames == len(expected)
    np.testing.assert_allclose(record.scores["warm"], expected[11], atol=1e-5)


def test_the_warm_prediction_comes_after_as_many_frames_as_asked(
    open_evaluator, jobs, manifest, step_by_hand
):
    expected, _ = step_by_hand(manifest.resolve(jobs[0].entry))
    for init_frames, step in ((0, 0), (5, 5), (500, len(expected) - 1)):
        (record,) = open_evaluator(init_frames=init_frames).evaluate(jobs[:1])
        np.testing.assert_allclose(record.scores["warm"], expected[step], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(record.scores["last"], expected[-1], rtol=1e-3, atol=1e-6)


def test_another_rate_samples_other_frames(open_evaluator, jobs):
    (slow,) = open_evaluator(rate_hz=4.0).evaluate(jobs[:1])
    (fast,) = open_evaluator(rate_hz=16.0).evaluate(jobs[:1])
    assert (slow.frames, fast.frames) == (8, 32)


def test_strict_mode_names_the_bad_video(open_evaluator, jobs, miniature):
    bad = next(job for job in jobs if miniature.kinds[job.entry.video_id] == "empty")
    with pytest.raises(DataError, match=bad.entry.video_id):
        list(open_evaluator(strict=True, at_once=2).evaluate([jobs[0], bad]))
    assert not any(thread.name == "co3d reads ahead" for thread in threading.enumerate())


def test_only_the_part_between_start_and_end_is_stepped(manifest, jobs):
    entry = dataclasses.replace(jobs[0].entry, start_seconds=0.5, end_seconds=1.5)
    whole = [frame.pts_seconds for frame in read_entry(manifest, jobs[0].entry, 8.0)]
    part = [frame.pts_seconds for frame in read_entry(manifest, entry, 8.0)]
    assert part == [seconds for seconds in whole if 0.5 <= seconds < 1.5]
    assert len(part) == 8


def test_a_part_without_frames_counts_as_unreadable(open_evaluator, jobs):
    entry = dataclasses.replace(jobs[0].entry, start_seconds=50.0)
    (record,) = open_evaluator().evaluate([Job(0, entry)])
    assert record.error.startswith("EmptyVideoError")


def test_moments_take_the_score_of_the_step_that_describes_them(
    tmp_path, open_evaluator, step_by_hand
):
    frames = np.zeros((64, 64, 64, 3), np.uint8)
    write_mp4(tmp_path / "a.mp4", frames)
    segments = (Segment(1, 0.0, 1.0), Segment(3, 2.0, 9.0))
    manifest = Manifest(
        tmp_path, CAMERA_MOTIONS, (VideoEntry("a", "a.mp4", (1, 3), segments=segments),), True
    )
    jobs = make_jobs(manifest, 9)
    (record,) = open_evaluator(manifest=manifest).evaluate(jobs)
    moments = [4.0 * index / 25 for index in range(25)]
    assert record.moment_labels == tuple(
        (1,) if moment <= 1 else (3,) if moment >= 2 else () for moment in moments
    )
    # A frame is described 4 steps after it is seen; the first valid step is the twelfth.
    steps = [max(11, min(31, round(moment * 8) + 4)) for moment in moments]
    expected, _ = step_by_hand(tmp_path / "a.mp4")
    for row, step in zip(record.moments, steps, strict=True):
        np.testing.assert_allclose(row, expected[step], atol=2e-3)
    seen = [frames for frames in MILESTONES if frames <= len(expected)]
    assert len(record.milestones) == len(seen)
    for row, frames in zip(record.milestones, seen, strict=True):
        np.testing.assert_allclose(row, expected[frames - 1], atol=2e-3)
