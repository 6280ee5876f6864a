"""Visitors' own video and the feed of streams, over WebSockets."""

import json
import threading
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from co3d.engine.camera import Camera
from co3d.serving import live_session
from co3d.serving.live_session import HEADER
from co3d.serving.settings import ServingLimits
from support.serving import run_service, talk


@pytest.fixture
def service(open_server):
    return open_server(limits=ServingLimits(sessions=1, idle_seconds=2.0))


@pytest.fixture
def url(service):
    with run_service(service) as url:
        yield url


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait up to ten seconds for another thread."""
    for _ in range(2000):
        if is_so():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come about")


def make_jpeg(number: int = 0, size=(96, 64)) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def picture(number: int, data: bytes | None = None) -> bytes:
    return HEADER.pack(number / 8) + (make_jpeg(number) if data is None else data)


def send_pictures(socket, service, count: int, steps_before: int = 0) -> None:
    """Send pictures as a live source does: no faster than they are labelled."""
    for number in range(count):
        socket.send(picture(number))
        [track] = service.engine.tracks.values()
        for _ in range(1000):
            if track.metrics().steps >= steps_before + number:
                break
            time.sleep(0.005)


def test_pictures_in_predictions_out(service, url):
    with talk(url, "/v1/live") as socket:
        socket.send_json({"type": "start", "format": "jpeg"})
        assert socket.receive_json() == {"type": "ready", "session": "visitor 1", "rate_hz": 8.0}
        send_pictures(socket, service, 16)
        messages = [socket.receive_json() for _ in range(11)]
        assert len(service.visits) == 1
    assert [message["pts_seconds"] for message in messages] == [n / 8 for n in range(11)]
    assert [message["valid"] for message in messages] == [n >= 7 for n in range(11)]
    labels = [message["label"] for message in messages if message["valid"]]
    assert set(labels) <= set(service.engine.labels)
    assert service.counters.pictures == 16
    wait_until(lambda: not len(service.visits))
    assert not service.engine.tracks


def test_more_visitors_than_there_is_room_for_are_refused(service, url):
    with talk(url, "/v1/live") as first:
        first.send_json({"type": "start"})
        first.receive_json()
        with talk(url, "/v1/live") as second:
            second.send_json({"type": "start"})
            message = second.receive_json()
            assert (message["error"], message["retry_seconds"]) == ("EngineFullError", 5)
            assert second.receive_end() == 1013
    with talk(url, "/v1/live") as third:
        third.send_json({"type": "start"})
        assert third.receive_json()["type"] == "ready"
    assert service.visits.refused == 1


def test_times_may_start_again_after_a_reset(service, url):
    with talk(url, "/v1/live") as socket:
        socket.send_json({"type": "start"})
        socket.receive_json()
        send_pictures(socket, service, 8)
        assert [socket.receive_json()["pts_seconds"] for _ in range(3)] == [0.0, 0.125, 0.25]
        socket.send_json({"type": "reset"})
        send_pictures(socket, service, 8, steps_before=8)
        times = []
        while not times or times[-1] != 0.0:
            times.append(socket.receive_json()["pts_seconds"])
        assert socket.receive_json()["pts_seconds"] == 0.125


@pytest.mark.parametrize(
    "first", ["", "{}", '{"type": "start", "format": "raw"}', '{"type": "start", "rate_hz": 1e9}']
)
def test_a_first_message_other_than_start_is_refused(url, first):
    with talk(url, "/v1/live") as socket:
        socket.send(first)
        assert socket.receive_json()["type"] == "error"
        assert socket.receive_end() == 1008


def test_damaged_pictures_are_reported_and_too_many_end_the_session(service, url):
    with talk(url, "/v1/live") as socket:
        socket.send_json({"type": "start"})
        socket.receive_json()
        for number in range(11):
            socket.send(picture(number, b"\xff\xd8 no picture"))
        messages = [socket.receive_json() for _ in range(11)]
        assert [one["type"] for one in messages] == ["notice"] * 10 + ["error"]
        assert socket.receive_end() == 1007
    assert service.counters.refused_pictures == 11
    wait_until(lambda: not len(service.visits))


def test_of_pictures_that_wait_too_long_only_the_newest_is_labelled(service, url, monkeypatch):
    monkeypatch.setattr(live_session, "LIVE_SECONDS", 0.0)
    may_decode, decoded = threading.Event(), list[bytes]()

    def decode(data: bytes, _max_pixels: int) -> np.ndarray:
        decoded.append(data)
        assert may_decode.wait(20)
        return np.zeros((64, 96, 3), np.uint8)

    monkeypatch.setattr(live_session, "decode_jpeg", decode)
    with talk(url, "/v1/live") as socket:
        socket.send_json({"type": "start"})
        socket.receive_json()
        socket.send(picture(0, b"first"))
        wait_until(lambda: decoded == [b"first"])
        for number in range(1, 7):
            socket.send(picture(number, b"late"))
        socket.send(picture(7, b"newest"))
        wait_until(lambda: service.counters.pictures == 8)
        may_decode.set()
        wait_until(lambda: service.counters.late_pictures == 6)
        wait_until(lambda: decoded == [b"first", b"newest"])


def test_an_idle_visitor_loses_the_place(open_server):
    service = open_server(limits=ServingLimits(idle_seconds=0.05))
    with run_service(service) as url, talk(url, "/v1/live") as socket:
        socket.send_json({"type": "start"})
        socket.receive_json()
        assert socket.receive_json()["error"] == "IdleError"
        assert socket.receive_end() == 1001
    wait_until(lambda: not len(service.visits))


def test_the_feed_gives_predictions_with_their_pictures(service, url, video):
    with talk(url, "/v1/feed?stream=door&width=32") as socket:
        service.streams.configure([Camera("door", str(video)), Camera("yard", str(video))])
        data = socket.receive()
        length = int.from_bytes(data[:4], "big")
        message = json.loads(data[4 : 4 + length])
        assert (message["type"], message["stream"]) == ("prediction", "door")
        assert Image.open(BytesIO(data[4 + length :])).size[0] == 32
    with talk(url, "/v1/feed") as socket:
        service.streams.configure([Camera("gate", str(video))])
        seen = {"prediction": 0, "ended": 0}
        while not seen["ended"]:
            message = socket.receive_json()
            seen[message["type"]] += message["stream"] == "gate"
        assert seen["prediction"] == 12
    wait_until(lambda: not service.counters.subscribers)
