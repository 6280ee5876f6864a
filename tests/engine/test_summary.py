import json
from dataclasses import replace

import numpy as np
import pytest

from co3d.engine import LabellingSummary, Segment
from support.predictions import make_prediction


def test_runs_of_one_label_become_segments_that_touch():
    summary = LabellingSummary(rate_hz=4.0)
    for number, label in enumerate(["pan", "pan", "tilt", "pan"]):
        summary.add(make_prediction(label, number / 4))
    assert list(summary.segments) == [
        Segment("pan", 0.0, 0.5),
        Segment("tilt", 0.5, 0.75),
        Segment("pan", 0.75, 1.0),
    ]


def test_invalid_predictions_count_as_frames_but_not_in_segments():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 0.0, valid=False))
    summary.add(make_prediction("tilt", 0.25))
    assert summary.predictions == 2
    assert summary.valid_predictions == 1
    assert list(summary.segments) == [Segment("tilt", 0.25, 0.5)]


def test_no_segment_reaches_over_a_gap():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 0.0))
    summary.add(make_prediction("pan", 9.0, gap_seconds=9.0))
    summary.add(make_prediction("pan", 9.25))
    assert list(summary.segments) == [Segment("pan", 0.0, 0.25), Segment("pan", 9.0, 9.5)]
    assert (summary.gaps, summary.longest_gap_seconds) == (1, 9.0)


def test_no_segment_reaches_over_predictions_that_are_not_valid():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 0.0))
    summary.add(make_prediction("pan", 9.0, valid=False, gap_seconds=9.0))
    summary.add(make_prediction("tilt", 9.25, valid=False))
    summary.add(make_prediction("tilt", 9.5))
    assert list(summary.segments) == [Segment("pan", 0.0, 0.25), Segment("tilt", 9.5, 9.75)]


def test_no_segment_reaches_over_predictions_below_the_threshold():
    summary = LabellingSummary(rate_hz=4.0)
    for number, is_sure in enumerate([True, True, False, True]):
        prediction = make_prediction("pan", number / 4)
        summary.add(prediction if is_sure else replace(prediction, top=()))
    assert list(summary.segments) == [Segment("pan", 0.0, 0.5), Segment("pan", 0.75, 1.0)]
    assert summary.valid_predictions == 4


def test_undersampled_predictions_are_counted():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 0.0))
    summary.add(make_prediction("pan", 0.25, is_undersampled=True))
    assert summary.undersampled_predictions == 1


def test_a_frame_described_twice_keeps_its_segment():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 1.0))
    summary.add(make_prediction("pan", 1.0))
    assert list(summary.segments) == [Segment("pan", 1.0, 1.25)]


def test_step_times_are_summed_up_by_median_and_95th_percentile():
    summary = LabellingSummary(rate_hz=4.0)
    steps_ms = [float(number) for number in range(1, 102)]
    for step_ms in steps_ms:
        summary.add(make_prediction("pan", step_ms, step_ms=step_ms))
    assert summary.step_ms_median == 51.0
    assert summary.step_ms_p95 == pytest.approx(float(np.percentile(steps_ms, 95)))


def test_memory_does_not_grow_with_the_video():
    summary = LabellingSummary(rate_hz=4.0)
    for number in range(12_000):
        summary.add(make_prediction("pan" if number % 2 else "tilt", number / 4))
    assert summary.predictions == 12_000
    assert len(summary.segments) == 10_000


def test_the_newest_dropped_count_is_kept():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 0.0, dropped_frames=2))
    summary.add(make_prediction("pan", 0.25, dropped_frames=7))
    assert summary.dropped_frames == 7


def test_an_empty_summary_has_no_rates():
    summary = LabellingSummary(rate_hz=4.0)
    assert summary.frames_per_second == summary.step_ms_median == summary.step_ms_p95 == 0.0


def test_as_dict_is_json():
    summary = LabellingSummary(rate_hz=4.0)
    summary.add(make_prediction("pan", 0.0))
    fields = json.loads(json.dumps(summary.as_dict()))
    assert fields["predictions"] == 1
    assert fields["segments"] == [{"label": "pan", "start_seconds": 0.0, "end_seconds": 0.25}]
    assert fields["frames_per_second"] > 0
