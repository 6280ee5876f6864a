import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.engine.scheduler import Scheduler
from co3d.errors import OptionError


def simulate(
    scheduler: Scheduler[str], rates_hz: dict[str, float], step_seconds: float, until: float
):
    """Simulate one worker and tracks with mailboxes of two frames; returns steps per track."""
    served: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    arrivals = sorted(
        (number / rate, name)
        for name, rate in rates_hz.items()
        for number in range(int(until * rate))
    )
    now, position = 0.0, 0
    while now < until:
        while position < len(arrivals) and arrivals[position][0] <= now:
            name = arrivals[position][1]
            waiting[name] = min(2, waiting[name] + 1)  # the oldest is dropped
            scheduler.mark_ready(name)
            position += 1
        taken = scheduler.take()
        if taken:
            served[taken[0]] += 1
            waiting[taken[0]] -= 1
            now += step_seconds
            if waiting[taken[0]]:
                scheduler.mark_ready(taken[0])
        elif position < len(arrivals):
            now = max(now, arrivals[position][0])
        else:
            break
    return served


def test_where_the_machine_keeps_up_every_frame_is_stepped():
    rates = {"door": 8.0, "yard": 4.0, "hall": 1.0}
    scheduler = Scheduler[str]()
    for name, rate in rates.items():
        scheduler.join(name, rate)
    served = simulate(scheduler, rates, 0.06, 100)  # 0.78 of the machine
    assert served == {"door": 800, "yard": 400, "hall": 100}


@pytest.mark.parametrize("overload", [1.5, 2.0, 5.0])
def test_in_overload_all_tracks_get_the_same_share_of_their_rates(overload):
    rates = {f"track {n}": rate for n, rate in enumerate([1, 2, 4, 8, 8, 15, 30])}
    scheduler = Scheduler[str]()
    for name, rate in rates.items():
        scheduler.join(name, rate)
    served = simulate(scheduler, rates, overload / sum(rates.values()), 600)
    shares = [served[name] / (rate * 600) for name, rate in rates.items()]
    assert min(shares) == pytest.approx(1 / overload, rel=0.05)
    assert max(shares) == pytest.approx(1 / overload, rel=0.05)


def test_a_higher_priority_comes_first_and_offline_tracks_come_last():
    scheduler = Scheduler[str]()
    scheduler.join("archive", 100, is_live=False)
    scheduler.join("yard", 8)
    scheduler.join("door", 1, priority=1)
    scheduler.join("old films", 100, priority=1, is_live=False)
    for name in ("archive", "yard", "door", "old films"):
        scheduler.mark_ready(name)
    assert scheduler.take(4) == ["door", "old films", "yard", "archive"]


def test_an_idle_track_gains_no_claim():
    scheduler = Scheduler[str]()
    for name in ("busy", "resting"):
        scheduler.join(name, 1)
    for _ in range(100):
        scheduler.mark_ready("busy")
        scheduler.take()
    order = []
    for _ in range(10):
        scheduler.mark_ready("busy")
        scheduler.mark_ready("resting")
        order += scheduler.take()
    assert 4 <= order.count("resting") <= 6


def test_a_track_that_joins_late_is_not_behind():
    scheduler = Scheduler[str]()
    scheduler.join("old", 1)
    for _ in range(100):
        scheduler.mark_ready("old")
        scheduler.take()
    scheduler.join("new", 1)
    scheduler.mark_ready("old")
    scheduler.mark_ready("new")
    assert set(scheduler.take(2)) == {"old", "new"}
    scheduler.mark_ready("new")
    assert scheduler.take() == ["new"]


def test_a_track_is_taken_once_for_each_time_that_it_is_ready():
    scheduler = Scheduler[str]()
    scheduler.join("a", 1)
    scheduler.mark_ready("a")
    scheduler.mark_ready("a")
    assert scheduler.ready == 1
    assert scheduler.take(5) == ["a"]
    assert scheduler.take(5) == []


def test_a_second_track_of_a_name_is_refused():
    scheduler = Scheduler[str]()
    scheduler.join("a", 1)
    with pytest.raises(OptionError, match="a track of that name has joined"):
        scheduler.join("a", 2)


@given(st.lists(st.tuples(st.sampled_from("jlrt"), st.integers(0, 4)), max_size=60))
def test_only_ready_tracks_are_taken(operations):
    scheduler, ready, joined = Scheduler[int](), set[int](), set[int]()
    for kind, track in operations:
        if kind == "j" and track not in joined:
            scheduler.join(track, track + 1, priority=track % 2)
            joined.add(track)
        elif kind == "l" and track in joined:
            scheduler.leave(track)
            joined.discard(track)
            ready.discard(track)
        elif kind == "r" and track in joined:
            scheduler.mark_ready(track)
            ready.add(track)
        elif kind == "t":
            taken = scheduler.take(track)
            assert len(taken) == min(track, len(ready))
            assert len(set(taken)) == len(taken)
            assert set(taken) <= ready
            ready -= set(taken)
        assert scheduler.ready == len(ready)


def test_ten_thousand_tracks():
    random.seed(0)
    scheduler = Scheduler[int]()
    rates = {track: random.choice([1.0, 2.0, 8.0]) for track in range(10_000)}
    for track, rate in rates.items():
        scheduler.join(track, rate)
        scheduler.mark_ready(track)
    served: Counter[int] = Counter()
    for _ in itertools.repeat(None, 100_000):
        (track,) = scheduler.take()
        served[track] += 1
        scheduler.mark_ready(track)
    shares = [served[track] / rate for track, rate in rates.items()]
    mean = 100_000 / sum(rates.values())
    assert max(abs(share - mean) for share in shares) <= 1  # of a step, at 1 a second


def test_an_offline_track_steps_several_times_in_a_row_and_others_catch_up():
    scheduler = Scheduler()
    for name in "ab":
        scheduler.join(name, 8, is_live=False)
        scheduler.mark_ready(name)
    steps = []
    while len(steps) < 48:
        (track,) = scheduler.take()
        steps.append(track)
        while scheduler.repeat(track):
            steps.append(track)
        scheduler.mark_ready(track)
    assert "".join(steps) == 3 * (8 * "a" + 8 * "b")


def test_no_track_steps_again_before_one_that_is_more_urgent():
    scheduler = Scheduler()
    for name, is_live in (("live", True), ("offline", False)):
        scheduler.join(name, 8, is_live=is_live)
        scheduler.mark_ready(name)
    assert scheduler.take() == ["live"]
    assert not scheduler.repeat("live")
    assert scheduler.take() == ["offline"]
    assert scheduler.repeat("offline")
    scheduler.mark_ready("live")
    assert not scheduler.repeat("offline")
