"""A stopped camera continues from its saved state; other states are refused with a reason."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from co3d.engine import Engine, Labeller, Prediction, TrackEnded
from co3d.engine.camera import Camera
from co3d.engine.cameras import CameraWatch
from co3d.engine.results import TrackState
from co3d.engine.track_states import TrackStates
from co3d.errors import StreamError
from co3d.runtime import Snapshot
from co3d.video import read_video
from support.servers import send, serve
from support.videos import make_broadcast

STATE = TrackState(Snapshot({"ring": torch.zeros(2, 3)}, 7, 1 << 60, "f" * 64), 1e9, 0.5)
DOOR = Camera("door", "rtsp://me:secret@10.0.0.5/1", crop=(0, 0, 64, 48))


@pytest.fixture(scope="module")
def engine(labeller: Labeller):
    with Engine(labeller.compiled, labeller.card, workers=1) as engine:
        yield engine


@pytest.fixture
def states(tmp_path, labeller):
    return TrackStates(tmp_path / "state", labeller.card)


@pytest.fixture(scope="module")
def broadcast(tmp_path_factory):
    """A live source, and the frames that a network sees of it."""
    path = tmp_path_factory.mktemp("live") / "live.flv"
    content = make_broadcast(path, 160)
    with read_video(path, rate_hz=8) as reader:
        return content, list(reader)


@contextmanager
def serving(content):
    over = threading.Event()

    def answer(handler, _number):
        send(handler, content)
        over.wait(30)

    with serve(answer) as url:
        try:
            yield url
        finally:
            over.set()


def watch_until(engine, states, camera, count):
    """Watch for a number of predictions, then stop; returns predictions, the state and notices."""
    made, left = [], None
    with CameraWatch(engine, states=states) as watch:
        watch.start(camera)
        for item in watch:
            if isinstance(item, Prediction):
                made.append(item)
                if len(made) == count:
                    watch.request_stop()
            elif isinstance(item, TrackEnded):
                assert item.error is None
                left = item.state
        return made, left, watch.list_notices(camera.name)


def test_a_stopped_camera_continues_as_if_it_had_not_stopped(engine, states, broadcast):
    content, frames = broadcast
    compiled, card = engine.compiled, engine.card
    with serving(content) as url:
        camera = Camera("door", url, policy="every", gap="keep", reconnect_seconds=0)
        before, left, _ = watch_until(engine, states, camera, 12)
        after, _, notices = watch_until(engine, states, camera, 6)
    assert not before[0].valid
    seen = left.snapshot.age
    assert seen >= 12
    with compiled.open() as slot:
        shown = [*frames[:seen], *frames]
        made = [compiled.step([slot], card.preprocess(f.image)).output[0] for f in shown]
    expected = [card.probabilities(logits).numpy() for logits in made]
    delay = compiled.program.delay
    for number, prediction in enumerate(before):
        np.testing.assert_array_equal(prediction.probabilities, expected[number + delay])
    assert [p.frame.index for p in after] == [frame.index for frame in frames[: len(after)]]
    for number, prediction in enumerate(after):
        assert prediction.valid
        np.testing.assert_array_equal(prediction.probabilities, expected[seen + number + delay])
    assert 0 < after[0].gap_seconds < 10
    assert not any("warms up" in notice for notice in notices)


@pytest.mark.parametrize(
    ("gap", "away_seconds", "said"),
    [("keep", 11.0, "expected 10.0 s at most"), ("reset", 2.0, "gap: keep goes on over 10 s")],
)
def test_after_too_long_it_warms_up_with_a_notice(
    engine, states, broadcast, gap, away_seconds, said
):
    with serving(broadcast[0]) as url:
        camera = Camera("door", url, policy="every", gap=gap, reconnect_seconds=0)
        _, left, _ = watch_until(engine, states, camera, 12)
        since_seconds = left.received_seconds - away_seconds
        states.save(camera, replace(left, received_seconds=since_seconds))
        after, _, notices = watch_until(engine, states, camera, 12)
    assert [p.valid for p in after[:9]] == [False] * 7 + [True] * 2
    assert any("warms up anew after the restart" in n and said in n for n in notices)


def test_the_state_of_another_program_is_not_used(engine, states, broadcast):
    with serving(broadcast[0]) as url:
        camera = Camera("door", url, policy="every", gap="keep", reconnect_seconds=0)
        states.save(camera, STATE)
        made, _, notices = watch_until(engine, states, camera, 3)
    assert not made[0].valid
    assert any("belongs to another program" in notice for notice in notices)


def test_a_state_is_used_once_and_holds_no_password(states, tmp_path):
    states.save(DOOR, STATE)
    (path,) = (tmp_path / "state").iterdir()
    assert b"secret" not in path.read_bytes()
    back = states.take(replace(DOOR, source="rtsp://me:changed@10.0.0.5/1"))
    assert torch.equal(back.snapshot.tensors["ring"], STATE.snapshot.tensors["ring"])
    assert (back.snapshot.age, back.snapshot.fingerprint) == (7, "f" * 64)
    assert (back.received_seconds, back.longest_seconds) == (1e9, 0.5)
    assert states.take(DOOR) is None
    assert not list((tmp_path / "state").iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "rtsp://10.0.0.6/1"}, "source"),
        ({"rate_hz": 4.0}, "rate_hz 8"),
        ({"crop": None}, "crop"),
        ({"rotate": 90}, "rotate 0, now 90"),
    ],
)
def test_the_state_of_another_stream_is_refused(states, change, said):
    states.save(DOOR, STATE)
    with pytest.raises(StreamError, match=said):
        states.take(replace(DOOR, **change))
    assert states.take(DOOR) is None


def test_the_state_of_another_card_is_refused(states, tmp_path, labeller):
    states.save(DOOR, STATE)
    others = TrackStates(tmp_path / "state", replace(labeller.card, mean=(0.0, 0.0, 0.0)))
    with pytest.raises(StreamError, match="card"):
        others.take(DOOR)


@pytest.mark.parametrize("kind", ["damaged", "a snapshot of nobody", "a folder"])
def test_a_damaged_state_is_refused(states, tmp_path, kind):
    states.save(DOOR, STATE)
    (path,) = (tmp_path / "state").iterdir()
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:40])
    elif kind == "a folder":
        path.unlink()
        path.mkdir()
    else:
        STATE.snapshot.save(path)
    with pytest.raises(StreamError, match="cannot restore"):
        states.take(DOOR)
