import itertools

import numpy as np
import pytest

from co3d.video import VideoFrame
from co3d.video.continuity import Continuity
from co3d.video.pace import Pace

PICTURE = np.zeros((2, 2, 3), np.uint8)


def mark(intervals, rate_hz=8.0, stated_seconds=None):
    """Marked frames: the first at 0 s, the others at these intervals; 0.0 repeats a picture."""
    source_pace = Pace(stated_seconds, 60.0)
    continuity = Continuity(rate_hz, source_pace, Pace(stated_seconds, 60.0))
    times = list(itertools.accumulate(intervals, initial=0.0))
    indices = list(itertools.accumulate((interval > 0 for interval in intervals), initial=0))
    frames = [
        VideoFrame(PICTURE, seconds, index) for seconds, index in zip(times, indices, strict=True)
    ]
    watched = source_pace.watch(frame for frame in frames)
    return [continuity.mark(frame) for frame in watched]


def gaps(intervals, rate_hz=8.0, stated_seconds=None):
    return [frame.gap_seconds for frame in mark(intervals, rate_hz, stated_seconds)]


def test_the_first_frame_after_a_gap_carries_gap_seconds():
    assert gaps([0.125] * 3 + [3.0] + [0.125] * 3) == [0, 0, 0, 0, 3.0, 0, 0, 0]


@pytest.mark.parametrize(("interval", "is_gap"), [(0.5, False), (0.51, True)])
def test_four_sampling_periods_are_no_gap_yet(interval, is_gap):
    assert any(gaps([0.125] * 8 + [interval] + [0.125] * 8)) == is_gap


@pytest.mark.parametrize("seed", range(5))
def test_jitter_and_lost_frames_are_no_gaps(seed):
    random = np.random.default_rng(seed)
    steady = 0.125 * random.uniform(0.5, 1.5, 200)
    lost = np.where(random.random(200) < 0.1, 0.25, 0.125)
    assert not any(gaps(steady))
    assert not any(gaps(lost))


def test_stills_of_a_slideshow_are_no_gaps():
    stills = [4.0, 3.0, 7.0, 2.0, 5.0, 10.0, 4.0, 3.0, 6.0, 5.0]
    assert not any(gaps(stills, stated_seconds=4.9))


def test_a_variable_frame_rate_has_no_gaps():
    assert not any(gaps([0.033, 0.1, 0.4, 0.033, 0.066, 0.3, 0.033, 0.5] * 5, stated_seconds=0.18))


def test_a_slow_camera_has_gaps_only_relative_to_its_own_pace():
    assert not any(gaps([0.5] * 20))
    assert [gap for gap in gaps([0.5] * 20 + [5.0] + [0.5] * 5) if gap] == [5.0]


def test_a_minute_without_a_picture_is_a_gap_at_any_pace():
    assert gaps([61.0] * 3) == [0, 61.0, 61.0, 61.0]


def test_repeats_are_no_pictures():
    frames = mark([0.0, 0.0, 0.0, 0.5] * 6)
    assert not any(frame.gap_seconds for frame in frames)
    assert all(frame.is_undersampled for frame in frames[16:])


def test_a_repeat_of_the_first_frame_after_a_gap_carries_no_gap():
    frames = mark([0.125] * 4 + [3.0, 0.0])
    assert [frame.gap_seconds for frame in frames[-2:]] == [3.0, 0.0]


@pytest.mark.parametrize(
    ("pictures_hz", "is_slow"), [(25, False), (5, False), (4, False), (3, True), (2, True)]
)
def test_fewer_than_two_new_pictures_in_five_are_undersampled(pictures_hz, is_slow):
    frames = mark([1 / pictures_hz] * 40)
    assert frames[-1].is_undersampled == is_slow
    assert not any(frame.is_undersampled for frame in frames[:3])
    stated = mark([1 / pictures_hz] * 40, stated_seconds=1 / pictures_hz)
    assert [frame.is_undersampled for frame in stated] == [False] + [is_slow] * 40


def test_the_mean_rate_of_a_file_with_an_outage_makes_no_frame_undersampled():
    intervals = [0.04] * 50 + [3600.0] + [0.04] * 50
    frames = mark(intervals, stated_seconds=3604 / 101)
    assert not any(frame.is_undersampled for frame in frames)
    assert [frame.gap_seconds for frame in frames if frame.gap_seconds] == [pytest.approx(3600)]


def test_without_a_rate_nothing_is_undersampled():
    frames = mark([1.0] * 20, rate_hz=None)
    assert not any(frame.is_undersampled or frame.gap_seconds for frame in frames)
    assert gaps([0.04] * 9 + [0.2], rate_hz=None)[-1] == pytest.approx(0.2)


def deliver(times, pictures_hz=25.0):
    """Marked frames at these times, from a source that sends `pictures_hz`."""
    source_pace = Pace(None, 10.0)
    for _ in range(15):
        source_pace.add(1 / pictures_hz)
    continuity = Continuity(8.0, source_pace, Pace(None, 10.0))
    return [continuity.mark(VideoFrame(PICTURE, seconds, n)) for n, seconds in enumerate(times)]


def test_dropped_frames_are_a_gap_even_at_the_start():
    frames = deliver([0.0, 5.6, 5.8, 6.0, 6.2, 6.6])
    assert [frame.gap_seconds for frame in frames] == [0, 5.6, 0, 0, 0, 0]


def test_frames_for_a_consumer_that_is_always_late_are_undersampled():
    frames = deliver([1.0 * n for n in range(12)])
    assert [bool(frame.gap_seconds) for frame in frames] == [False] + [True] * 3 + [False] * 8
    assert all(frame.is_undersampled for frame in frames[3:])


def test_a_gap_that_a_reader_has_found_is_kept():
    frames = [VideoFrame(PICTURE, n / 8, n, gap_seconds=9.0 * (n == 2)) for n in range(4)]
    continuity = Continuity(8.0, Pace(None, 10.0), Pace(None, 10.0))
    assert [continuity.mark(frame).gap_seconds for frame in frames] == [0, 0, 9.0, 0]
