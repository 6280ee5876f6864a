import threading
from itertools import islice

import av
import pytest

import co3d.video.back_off
import co3d.video.connection
from co3d.errors import CameraError, SourceUnreachableError
from co3d.video.back_off import retry_delays
from co3d.video.connection import Connection


@pytest.fixture
def endless_path(tmp_path, make):
    """Ten frames of a container that states no duration, like a camera."""
    return make(tmp_path / "camera.h264", 10)


def test_a_camera_that_stops_is_not_tried_again(endless_path):
    connection = Connection(
        lambda: av.open(str(endless_path)),
        "camera 0",
        None,
        False,
        threading.Event(),
        is_camera=True,
    )
    connection.connect()
    frames = connection.frames()
    assert connection.is_live
    assert len(list(islice(frames, 10))) == 10
    with pytest.raises(CameraError, match="camera 0 stopped sending"):
        next(frames)
    connection.close()


def test_retry_delays_double_up_to_a_limit_with_up_to_half_removed_at_random(monkeypatch):
    bounds = []

    def draw(shortest, longest):
        bounds.append((shortest, longest))
        return shortest

    monkeypatch.setattr(co3d.video.back_off.random, "uniform", draw)
    assert list(islice(retry_delays(), 6)) == [0.25, 0.5, 1, 2, 4, 4]
    assert bounds == [(0.25, 0.5), (0.5, 1), (1, 2), (2, 4), (4, 8), (4, 8)]


def test_retrying_ends_after_reconnect_seconds(endless_path, monkeypatch):
    now, waits = [0.0], []

    class Clock(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            now[0] += timeout or 0.0
            return False

    opened = []

    def open_once():
        if opened:
            raise SourceUnreachableError("nobody answers")
        opened.append(av.open(str(endless_path)))
        return opened[0]

    monkeypatch.setattr(co3d.video.back_off.random, "uniform", lambda _, longest: longest)
    monkeypatch.setattr(co3d.video.connection.time, "monotonic", lambda: now[0])
    connection = Connection(open_once, "rtsp://host", 30.0, False, Clock())
    connection.connect()
    frames = connection.frames()
    assert len(list(islice(frames, 10))) == 10
    with pytest.raises(SourceUnreachableError, match=r"no frame for 30.0 s \(nobody answers\)"):
        next(frames)
    assert waits == [0.5, 1, 2, 4, 8, 8, 6.5]


def test_stopping_ends_the_waiting(endless_path):
    stopping = threading.Event()
    connection = Connection(
        lambda: av.open(str(endless_path)), "rtsp://host", 30.0, False, stopping
    )
    connection.connect()
    frames = connection.frames()
    assert len(list(islice(frames, 10))) == 10
    stopping.set()
    assert list(frames) == []
