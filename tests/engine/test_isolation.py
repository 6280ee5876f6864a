"""Cameras that stall, die, jump in time, change size or send in bursts do not affect others."""

from collections import defaultdict

import numpy as np
import pytest

from co3d.engine import Engine, Labeller, Prediction, Results, Track, TrackEnded
from co3d.errors import StreamError
from co3d.video import VideoFrame

RATE_HZ = 8.0
STEADY_ROUNDS, FAULTY_ROUNDS = 12, 12
STEADY = ("door", "yard", "gate")
FAULTY = ("stalls", "dies", "jumps", "resizes", "bursts")


class Source:
    """Feeds a track one frame per round."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._number = 0
        self.shift_seconds = 0.0

    def feed(self, height: int = 60, width: int = 80) -> None:
        rng = np.random.default_rng(self._number)
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        pts_seconds = self.shift_seconds + self._number / RATE_HZ
        self._track.feed(VideoFrame(picture, pts_seconds, self._number, received_seconds=1.0))
        self._number += 1

    def misbehave(self, round_number: int) -> None:
        name = self._track.name
        if name == "dies":
            self._track.finish(StreamError("cannot read dies: it is gone"))
        elif name == "jumps":
            self.shift_seconds += 1000 * (round_number % 6 == 0)
            self.feed()
        elif name == "resizes":
            self.feed(60 + 20 * (round_number % 3), 80 + 30 * (round_number % 2))
        elif name == "bursts":
            for _ in range(5):
                self.feed()


@pytest.fixture(scope="module")
def rounds(labeller: Labeller) -> list[list[Prediction | TrackEnded]]:
    """The predictions of all tracks in each round, in the order of their steps."""
    results, rounds = Results(), []
    with Engine(labeller.compiled, labeller.card, workers=0, load_limit=None) as engine:
        sources = {
            name: Source(engine.join(name, rate_hz=RATE_HZ, results=results))
            for name in (*FAULTY, *STEADY)
        }
        for number in range(STEADY_ROUNDS + FAULTY_ROUNDS):
            for name, source in sources.items():  # the faulty ones first
                if name in STEADY or number < STEADY_ROUNDS:
                    source.feed()
                else:
                    source.misbehave(number)
            while engine.step():
                pass
            rounds.append(list(results.take_waiting()))
    return rounds


def test_a_faulty_camera_delays_no_other_by_more_than_a_step(rounds):
    for made in rounds[STEADY_ROUNDS:]:
        names = [item.track for item in made if isinstance(item, Prediction)]
        assert sorted(name for name in names if name in STEADY) == sorted(STEADY)
        last = max(names.index(name) for name in STEADY)
        for name in FAULTY:
            assert names[:last].count(name) <= 1


def test_the_faulty_cameras_own_track_reports_it(rounds):
    made: dict[str, list[Prediction]] = defaultdict(list)
    ends = {}
    for item in (item for made_now in rounds[STEADY_ROUNDS:] for item in made_now):
        if isinstance(item, Prediction):
            made[item.track].append(item)
        else:
            ends[item.track] = item.error
    assert "stalls" not in made
    assert isinstance(ends["dies"], StreamError)
    assert [item.gap_seconds > 900 for item in made["jumps"]].count(True) == 2
    assert not all(item.valid for item in made["jumps"])
    assert all(item.valid for item in made["resizes"])
    assert len(made["resizes"]) == FAULTY_ROUNDS
    assert made["bursts"][-1].dropped_frames == FAULTY_ROUNDS * (5 - 4)
    assert not any(item.gap_seconds for name in STEADY for item in made[name])
