import itertools
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.video.pace import Pace
from co3d.video.sampling import TOLERANCE_SECONDS, sample_at_rate


class Stamp(NamedTuple):
    pts_seconds: float
    name: int


def sample(times, rate_hz, max_hold_seconds=60.0, pace=None):
    stamps = [Stamp(seconds, name) for name, seconds in enumerate(times)]
    watched = stamps if pace is None else pace.watch(stamps)
    return [stamp.name for stamp in sample_at_rate(watched, rate_hz, max_hold_seconds, pace)]


def test_without_a_rate_every_frame_passes():
    assert sample([0, 0, 5, 99], None) == [0, 1, 2, 3]


def test_a_divisor_of_the_rate_takes_every_nth_frame():
    assert sample([n / 30 for n in range(31)], 6) == [0, 5, 10, 15, 20, 25, 30]


def test_the_newest_frame_before_the_tick_is_taken():
    assert sample([0, 0.9, 1.1, 1.9, 2.1], 1) == [0, 1, 3]


def test_the_grid_starts_at_the_first_frame():
    assert sample([8.333 + n / 30 for n in range(13)], 10) == [0, 3, 6, 9, 12]


def test_millisecond_rounding_does_not_lose_the_frame_on_the_tick():
    times = [round(n / 30, 3) for n in range(31)]
    assert sample(times, 6) == [0, 5, 10, 15, 20, 25, 30]
    assert times[5] > 5 / 30  # without the tolerance frame 4 would be taken


def test_a_slow_source_repeats_its_newest_frame():
    assert sample([0, 1, 2], 3) == [0, 0, 0, 1, 1, 1, 2]


def test_of_equal_timestamps_the_last_counts():
    assert sample([0, 0, 1, 1, 1], 1) == [1, 4]


def test_after_a_long_gap_the_grid_starts_again():
    assert sample([0, 0.5, 7.3, 7.8, 8.3], 2, max_hold_seconds=1) == [0, 1, 2, 3, 4]
    assert len(sample([0, 1e12], 10, max_hold_seconds=1)) == 2


def test_no_frame_is_held_over_a_gap():
    times = [n / 20 for n in range(8)] + [3 + n / 20 for n in range(5)]
    assert sample(times, 10) == [0, 2, 4, 6, *[7] * 26, 8, 10, 12]
    assert sample(times, 10, pace=Pace(None, 60.0)) == [0, 2, 4, 6, 8, 10, 12]


def test_a_slow_source_is_repeated_up_to_its_own_pace():
    times = [2.0 * n for n in range(6)]
    assert sample(times, 2, pace=Pace(2.0, 60.0)) == sample(times, 2)


def test_frames_are_delivered_before_the_source_ends():
    sampled = sample_at_rate((Stamp(float(n), n) for n in itertools.count()), 1, 60)
    assert [next(sampled).name for _ in range(3)] == [0, 1, 2]


steps = st.lists(st.floats(0, 0.7), min_size=0, max_size=40)
rates = st.floats(0.3, 60)


@settings(deadline=None, max_examples=200)
@given(start=st.floats(-5, 1e4), steps=steps, rate_hz=rates)
def test_every_tick_holds_the_newest_frame(start, steps, rate_hz):
    times = list(itertools.accumulate(steps, initial=start))
    tolerance = min(TOLERANCE_SECONDS, 0.25 / rate_hz)
    ticks = (start + k / rate_hz for k in itertools.count())
    expected = [
        max(n for n, seconds in enumerate(times) if seconds <= tick + tolerance)
        for tick in itertools.takewhile(lambda tick: tick <= times[-1] + tolerance, ticks)
    ]
    assert sample(times, rate_hz) == expected


@settings(deadline=None, max_examples=100)
@given(steps=st.lists(st.floats(0, 3), max_size=40), rate_hz=rates, hold=st.floats(0.1, 2))
def test_order_is_kept_and_no_frame_is_held_too_long(steps, rate_hz, hold):
    times = list(itertools.accumulate(steps, initial=0.0))
    names = sample(times, rate_hz, hold)
    assert names == sorted(names)
    for name in set(names):
        assert names.count(name) <= hold * rate_hz + 1.5


@pytest.mark.parametrize("rate_hz", [1, 6, 25, 29.97])
def test_ticks_do_not_drift(rate_hz):
    names = sample([n / 100 for n in range(100_000)], rate_hz)
    assert len(names) == pytest.approx(1000 * rate_hz, abs=1)
