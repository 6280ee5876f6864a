"""The batch size: how many tracks step in one call."""

import pytest

from co3d.engine.admission import ALL_CALLS, StepCost
from co3d.engine.batch_size import MOST_CPU_TRACKS, BatchSize


def count(cost: StepCost, seconds: float) -> None:
    for _ in range(ALL_CALLS):
        cost.begin_call([1])
        cost.add(seconds, seconds)


@pytest.mark.parametrize(
    ("step_seconds", "tracks"),
    [(4e-3, 1), (2e-3, 2), (0.7e-3, 7), (1e-5, MOST_CPU_TRACKS), (9.0, 1)],
)
def test_a_batch_takes_at_most_five_milliseconds(step_seconds, tracks):
    cost = StepCost()
    count(cost, step_seconds)
    assert BatchSize(None, cost, workers=2).choose(100) == tracks


def test_until_the_cost_is_known_each_track_steps_alone():
    cost = StepCost()
    size = BatchSize(None, cost, workers=2)
    assert size.choose(100) == 1
    count(cost, 1e-3)  # the first steps of a video
    for _ in range(3):
        count(cost, 0.5e-3)
    assert size.choose(100) == 8


def test_each_worker_gets_its_share_of_the_tracks():
    cost = StepCost()
    count(cost, 1e-4)
    size = BatchSize(None, cost, workers=4)
    assert [size.choose(joined) for joined in (1, 4, 5, 9, 100)] == [1, 1, 2, 3, 8]


def test_a_given_batch_size_is_kept():
    cost = StepCost()
    count(cost, 1.0)
    assert BatchSize(64, cost, workers=1).choose(100) == 64


def test_after_the_first_calls_every_eighth_is_measured():
    cost = StepCost()
    counted = [cost.begin_call([1]) for _ in range(ALL_CALLS + 80)]
    assert all(counted[:ALL_CALLS])
    assert sum(counted[ALL_CALLS:]) == 10
