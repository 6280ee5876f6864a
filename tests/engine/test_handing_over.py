"""A track that is handed over to another engine continues bit for bit."""

import pickle

import numpy as np

from co3d.engine import Engine, Labeller, Results, TrackEnded
from co3d.engine.results import TrackState

PICTURES = np.random.default_rng(4).integers(0, 256, (60, 24, 32, 3), np.uint8)
TIMES = np.cumsum(np.full(60, 0.04))  # 25 a second, of which the network sees 8


def _push(engine: Engine, track, first: int, last: int) -> None:
    for picture, pts_seconds in zip(PICTURES[first:last], TIMES[first:last], strict=True):
        track.push(picture, float(pts_seconds))
        while engine.step():
            pass


def _join(engine: Engine, name: str, results: Results, state: TrackState | None = None):
    return engine.join(name, results=results, snapshot=state, smooth_seconds=0.5)


def test_a_track_that_is_handed_over_predicts_the_same(labeller: Labeller) -> None:
    engines = [
        Engine(labeller.compiled, labeller.card, workers=0, load_limit=None) for _ in range(2)
    ]
    stayed, moved = Results(), Results()
    _push(engines[0], _join(engines[0], "stays", stayed), 0, 60)
    # The handover is in the middle of the sampler's period, of the delay and of the average.
    first = _join(engines[0], "moves", moved)
    _push(engines[0], first, 0, 31)
    first.leave_state()
    first.finish()
    while engines[0].step():
        pass
    items = list(moved.take_waiting())
    ended = items.pop()
    assert isinstance(ended, TrackEnded)
    assert ended.state is not None
    state = pickle.loads(pickle.dumps(ended.state))  # as between machines
    _push(engines[1], _join(engines[1], "moves", moved, state), 31, 60)
    items += moved.take_waiting()
    expected = list(stayed.take_waiting())
    assert len(expected) == len(items) > 12
    for one, other in zip(expected, items, strict=True):
        assert one.pts_seconds == other.pts_seconds
        assert one.from_pts_seconds == other.from_pts_seconds
        assert one.valid == other.valid
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert any(one.valid for one in items)
    for engine in engines:
        engine.close()
