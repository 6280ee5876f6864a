import math

import pytest

from co3d.video.pace import Pace


def pace_of(intervals, stated_seconds=None, longest_seconds=60.0):
    pace = Pace(stated_seconds, longest_seconds)
    for interval in intervals:
        pace.add(interval)
    return pace


def test_with_an_unknown_pace_only_the_longest_hold_makes_a_gap():
    assert pace_of([]).usual_seconds is None
    assert pace_of([]).longest_without_gap(0.125) == pytest.approx(60, abs=2e-3)
    assert pace_of([], longest_seconds=math.inf).longest_without_gap(0.125) == math.inf


def test_fast_sources_are_measured_by_the_sampling_period():
    assert pace_of([0.04] * 9).longest_without_gap(0.125) == pytest.approx(0.5, abs=2e-3)


def test_slow_sources_are_measured_by_their_own_pace():
    assert pace_of([5.0] * 9).longest_without_gap(0.125) == pytest.approx(20, abs=2e-3)


@pytest.mark.parametrize("odd", [0.0, 0.001, 0.2, 3600.0])
def test_one_odd_interval_changes_nothing(odd):
    assert pace_of([0.04, 0.04, odd, 0.04]).usual_seconds == 0.04


def test_a_source_that_changes_its_pace_is_followed():
    pace = pace_of([0.04] * 15)
    for _ in range(7):
        pace.add(1.0)
    assert pace.usual_seconds == 0.04
    pace.add(1.0)
    assert pace.usual_seconds == 1.0


def test_a_stated_pace_counts_until_enough_is_measured():
    assert pace_of([], 5.0).usual_seconds == 5.0
    assert pace_of([1.0] * 7, 5.0).usual_seconds == 5.0
    assert pace_of([1.0] * 8, 5.0).usual_seconds == 1.0
    assert pace_of([9.0], 5.0).usual_seconds == 9.0


def test_a_slow_pace_shows_in_three_intervals_or_in_one_if_it_is_stated():
    assert not pace_of([0.5] * 2).is_slower_than(0.3)
    assert pace_of([0.5] * 3).is_slower_than(0.3)
    assert not pace_of([], 0.5).is_slower_than(0.3)
    assert pace_of([0.5], 0.5).is_slower_than(0.3)
    assert not pace_of([0.04], 0.5).is_slower_than(0.3)


def test_a_pace_is_known_when_stated_or_from_three_intervals():
    assert pace_of([], 0.04).is_known
    assert not pace_of([0.04] * 2).is_known
    assert pace_of([0.04] * 3).is_known
