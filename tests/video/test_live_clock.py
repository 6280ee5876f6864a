import numpy as np
import pytest

from co3d.video.clock import Arrival
from co3d.video.live_clock import LiveClock


def stamp_all(clock, times, arrivals, waited=1.0):
    """Times of frames; this share of the time was spent waiting for them."""
    settled = []
    for number, (seconds, arrival) in enumerate(zip(times, arrivals, strict=True)):
        settled += clock.put(number, seconds, Arrival(arrival, waited * arrival))
    settled += clock.release()
    assert [number for number, _ in settled] == list(range(len(times)))
    return [seconds for _, seconds in settled]


def test_without_a_clock_the_time_of_arrival_counts():
    clock = LiveClock(0.04, has_timestamps=False)
    arrivals = [1000 + 0.2 * n for n in range(50)]
    stamps = stamp_all(clock, [0.04 * n for n in range(50)], arrivals)
    assert stamps == pytest.approx([0.2 * n for n in range(50)])
    assert clock.notices == ["carries no clock: frames have the times of their arrival"]


def test_an_outage_of_a_source_without_a_clock_is_a_gap():
    clock = LiveClock(0.04, has_timestamps=False)
    assert stamp_all(clock, [0.0, 0.04], [5.0, 5.2]) == pytest.approx([0.0, 0.2])
    clock.resume()
    assert stamp_all(clock, [0.0, 0.04], [25.0, 25.2]) == pytest.approx([20.0, 20.2])


def test_a_slow_clock_is_replaced_by_arrival():
    clock = LiveClock(0.04, has_timestamps=True)
    arrivals = [100 + 0.2 * n for n in range(200)]
    stamps = stamp_all(clock, [0.04 * n for n in range(200)], arrivals)
    assert clock.by_arrival
    assert stamps[101] == pytest.approx(4.04)  # twenty seconds after the second frame
    assert np.diff(stamps[101:]) == pytest.approx([0.2] * 98)
    assert clock.notices == [
        "has a clock that advances 0.2 s a second: from 4.0 s on frames have the times of their "
        "arrival"
    ]


@pytest.mark.parametrize("speed", [0.6, 0.98, 1.0, 1.1, 30.0])
def test_a_clock_that_agrees_with_arrival_is_kept(speed):
    clock = LiveClock(0.04, has_timestamps=True)
    times = [speed * 0.2 * n for n in range(200)]
    assert stamp_all(clock, times, [100 + 0.2 * n for n in range(200)]) == pytest.approx(times)
    assert (clock.by_arrival, clock.notices) == (False, [])


def test_clocks_are_not_judged_while_the_consumer_is_the_slow_one():
    clock = LiveClock(0.04, has_timestamps=True)
    times = [0.04 * n for n in range(200)]
    stamps = stamp_all(clock, times, [100 + 0.2 * n for n in range(200)], waited=0.1)
    assert stamps == pytest.approx(times)
    assert not clock.by_arrival


def test_a_burst_at_the_start_and_stalls_do_not_count_against_a_clock():
    clock = LiveClock(0.04, has_timestamps=True)
    times = [0.2 * n for n in range(300)]
    arrivals = [max(100.0, 90 + seconds) for seconds in times]  # ten seconds come at once
    arrivals = [max(a, 130.0) if 125 < a < 130 else a for a in arrivals]  # five come late
    assert stamp_all(clock, times, arrivals) == pytest.approx(times)
    assert not clock.by_arrival
