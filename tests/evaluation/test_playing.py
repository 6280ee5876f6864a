"""Videos on the engine, several at once: what each is shown, and how they end."""

import threading
import time

import numpy as np
import pytest

import co3d
from co3d.errors import DamagedVideoError
from co3d.evaluation.playing import Session, VideoPlayer
from co3d.video import VideoFrame

PICTURE = np.zeros((64, 64, 3), np.uint8)
AHEAD = 16


class Counted(Session):
    """A video of still pictures that counts what becomes of it."""

    open = most_open = 0

    def __init__(self, card, frames, *, copies=0, error=None):
        super().__init__(None, card, self.read, copies)
        self.frames, self.error = frames, error
        self.shown, self.is_closed, self.times = 0, False, []
        self.begins, self.goes_on = threading.Event(), threading.Event()
        self.begins.set()
        self.goes_on.set()

    def read(self):
        Counted.open += 1
        Counted.most_open = max(Counted.most_open, Counted.open)
        try:
            self.begins.wait()
            for number in range(self.frames):
                self.shown += 1
                yield VideoFrame(PICTURE, number / 8, number)
            if self.error is not None:
                raise self.error
        finally:
            Counted.open -= 1
            self.is_closed = True

    def keep(self, pts_seconds, step):
        self.goes_on.wait()
        assert step.frame.image.size == 0
        self.times.append(pts_seconds)


@pytest.fixture(scope="module")
def compiled(program):
    return co3d.compile(program, backend="torch")


def times(frames):
    return [number / 8 for number in range(frames)]


def test_each_video_is_read_to_its_end_and_no_more_are_open_than_allowed(compiled, model):
    Counted.most_open = 0
    sessions = [Counted(model.card, frames) for frames in (3, 0, 5, 1, 4)]
    ended = list(VideoPlayer(compiled, model.card, at_once=2).play(iter(sessions)))
    assert {session for session, _ in ended} == set(sessions)
    assert all(error is None for _, error in ended)
    assert [session.times for session in sessions] == [times(s.frames) for s in sessions]
    assert Counted.most_open <= 2


def test_predictions_for_copies_of_the_first_frame_are_discarded(compiled, model):
    session = Counted(model.card, 3, copies=4)
    list(VideoPlayer(compiled, model.card).play([session]))
    assert session.times == times(3)


def test_an_error_ends_only_its_own_video_after_its_earlier_frames(compiled, model):
    good, bad = Counted(model.card, 6), Counted(model.card, 4, error=DamagedVideoError("broken"))
    ended = dict(VideoPlayer(compiled, model.card).play([bad, good]))
    assert ended[good] is None
    assert isinstance(ended[bad], DamagedVideoError)
    assert (good.times, bad.times) == (times(6), times(4))


def test_frames_are_read_sixteen_ahead_and_closed_when_the_consumer_stops(compiled, model):
    slow, short = Counted(model.card, 1000), Counted(model.card, 1)
    slow.begins.clear()
    slow.goes_on.clear()
    playing = VideoPlayer(compiled, model.card, at_once=2).play([slow, short])
    try:
        assert next(playing)[0] is short
        slow.begins.set()
        # One waits for room; another one if a step took the first before there was none.
        waiting = range(AHEAD + 1, AHEAD + 3)
        deadline = time.monotonic() + 30
        while slow.shown < waiting.start and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert slow.shown in waiting
    finally:
        slow.begins.set()
        slow.goes_on.set()
        playing.close()
    assert slow.is_closed
    assert len(slow.times) < 1000
    assert not [t.name for t in threading.enumerate() if t.name.startswith("co3d")]
