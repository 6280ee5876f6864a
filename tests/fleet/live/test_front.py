"""Tracks whose pictures a front pushes: where they are placed, how they move, what they report."""

from contextlib import ExitStack

import numpy as np
import pytest

from co3d.engine import Engine, Prediction, Results, TrackEnded
from co3d.errors import EngineFullError, NotAVideoError
from co3d.fleet.front import FleetEngine
from co3d.serving.visits import Visits

PICTURES = np.random.default_rng(5).integers(0, 256, (40, 24, 32, 3), np.uint8)
TIMES = [number / 20 for number in range(40)]  # the network sees 8 a second of them


@pytest.fixture
def front(fleet):
    with ExitStack() as stack:

        def open_front() -> FleetEngine:
            front = FleetEngine(fleet.registry, fleet.handles[0].host.describe_network())
            stack.callback(front.close)
            return front

        yield open_front


class Visitor:
    """Pushes each picture once the previous ones are labelled, and collects results."""

    def __init__(self, engine, wait_until) -> None:
        self.items: list[object] = []
        self._visits = Visits(engine, 4)
        try:
            self.visit = self._visits.open(self.items.append)
        except BaseException:
            self._visits.close()
            raise
        self._wait_until = wait_until

    def push(self, first: int, last: int, handle) -> None:
        """Push no faster than pictures are labelled, so that none is dropped."""
        for number in range(first, last):
            self.visit.push(TIMES[number], PICTURES[number])
            self._wait_until(lambda: _is_idle(handle))

    @property
    def predictions(self) -> list[Prediction]:
        return [one for one in self.items if isinstance(one, Prediction)]

    def close(self) -> None:
        self.visit.close()
        self._visits.close()


def _label_alone(network) -> list[Prediction]:
    results = Results()
    with Engine(*network, workers=0, load_limit=None) as engine:
        track = engine.join(results=results)
        for picture, pts_seconds in zip(PICTURES, TIMES, strict=True):
            track.push(picture, pts_seconds)
            while engine.step():
                pass
    return [one for one in results.take_waiting() if isinstance(one, Prediction)]


def test_a_drained_engine_hands_over_its_tracks_bit_for_bit(fleet, front, network, wait_until):
    expected = _label_alone(network)
    first = fleet.add_engine()
    visitor = Visitor(front(), wait_until)
    second = fleet.add_engine()
    visitor.push(0, 23, first)
    assert first.host.report().tracks == 1
    first.host.leave()
    fleet.report()
    visitor.push(23, 40, second)
    wait_until(lambda: len(visitor.predictions) == len(expected))
    assert first.host.has_handed_over()
    assert second.host.report().tracks == 1
    for made, right in zip(visitor.predictions, expected, strict=True):
        assert (made.pts_seconds, made.valid) == (right.pts_seconds, right.valid)
        np.testing.assert_array_equal(made.probabilities, right.probabilities)
        assert not made.restarted
    assert {one.track for one in visitor.predictions} == {"visitor 1"}
    visitor.close()
    wait_until(lambda: second.host.report().tracks == 0)


def _is_idle(handle) -> bool:
    tracks = handle.host._engine.tracks.values()
    return all(not len(one._mailbox) and not one.is_busy for one in tracks)


def test_tracks_of_a_lost_engine_warm_up_elsewhere_and_say_so(fleet, front, wait_until):
    first = fleet.add_engine()
    visitor = Visitor(front(), wait_until)
    visitor.push(0, 16, first)
    wait_until(lambda: len(visitor.predictions) == 2)
    second = fleet.add_engine()
    first.is_cut = True
    before = len(visitor.predictions)
    wait_until(lambda: second.host.report().tracks == 1)
    visitor.push(16, 40, second)
    wait_until(lambda: len(visitor.predictions) >= before + 3)
    after = visitor.predictions[before:]
    assert all(one.restarted and not one.valid for one in after)
    visitor.close()


def test_a_full_engine_refuses_and_the_next_takes_the_track(fleet, front, wait_until):
    full, free = fleet.add_engine(max_streams=0), fleet.add_engine(max_streams=1)
    engine = front()
    visitor = Visitor(engine, wait_until)
    assert (full.host.report().tracks, free.host.report().tracks) == (0, 1)
    with pytest.raises(EngineFullError):
        Visitor(engine, wait_until)
    visitor.close()


def test_a_track_that_finds_no_other_engine_ends_with_an_error(
    fleet, front, wait_until, monkeypatch
):
    monkeypatch.setattr("co3d.fleet.front.MOVING_SECONDS", 0.0)
    handle = fleet.add_engine()
    visitor = Visitor(front(), wait_until)
    handle.is_cut = True
    wait_until(lambda: any(isinstance(one, TrackEnded) for one in visitor.items))
    (ended,) = [one for one in visitor.items if isinstance(one, TrackEnded)]
    assert isinstance(ended.error, EngineFullError)
    visitor.close()


def test_jpegs_are_decoded_by_the_engine(fleet, front, wait_until):
    fleet.add_engine()
    visitor = Visitor(front(), wait_until)
    with pytest.raises(NotAVideoError):
        visitor.visit.push(0.0, b"no picture")
    visitor.close()
