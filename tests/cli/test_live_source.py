"""A live source over loopback: it stalls, it goes away, it is annotated as it comes."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler

import pytest

from co3d.cli.lines import JsonLines
from co3d.video import container, read_video
from support.servers import send, serve
from support.videos import make_broadcast

RANDOM = ("--weights", "random")


@pytest.fixture(scope="module")
def broadcast(tmp_path_factory) -> bytes:
    """Ten seconds at 16 frames per second, in a container that states no length."""
    return make_broadcast(tmp_path_factory.mktemp("broadcast") / "live.flv", 160)


@contextmanager
def send_once(data: bytes, hangs_up: threading.Event) -> Iterator[str]:
    """Send the data to the first who asks and keep the line open until `hangs_up`."""

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number:
            handler.send_error(404)
            return
        send(handler, data)
        hangs_up.wait(60)

    with serve(answer) as url:
        try:
            yield url
        finally:
            hangs_up.set()


def parse_time(text: str) -> float:
    """Unix time of an ISO 8601 time in UTC."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text.removesuffix("Z") + "+00:00").timestamp()


def check_video(path, lines: list[dict]) -> None:
    with read_video(path) as reader:
        times = [frame.pts_seconds for frame in reader]
    assert len(lines) > 10
    expected = [line["pts_seconds"] - lines[0]["pts_seconds"] for line in lines]
    assert times == pytest.approx(expected, abs=2e-3)


def test_ctrl_c_ends_the_wait_for_a_frame_that_never_comes(co3d, broadcast, tmp_path, monkeypatch):
    def add_and_arm(sink, prediction):
        add(sink, prediction)
        if prediction.frame.index == 136:
            timer.start()  # by then all frames are taken and the line is silent

    add = JsonLines.add
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    monkeypatch.setattr(JsonLines, "add", add_and_arm)
    movie = tmp_path / "out.mp4"
    with send_once(broadcast, threading.Event()) as url:
        outcome = co3d("stream", url, *RANDOM, "--json", "--policy", "every", "--output", movie)
    timer.join()
    assert outcome.code == 130
    lines = [line for line in outcome.lines if line["type"] == "prediction"]
    assert all(line["dropped_frames"] == 0 for line in lines)
    check_video(movie, lines)
    events = [line for line in outcome.lines if line["type"] == "state"]
    # The server keeps the line open and silent, until reading times out after 5 s.
    assert [event["state"] for event in events][:2] == ["connecting", "live"]


def test_a_stream_that_is_gone_for_good_completes_its_outputs(co3d, broadcast, tmp_path):
    hangs_up = threading.Event()
    hangs_up.set()
    movie = tmp_path / "out.mp4"
    with send_once(broadcast, hangs_up) as url:
        outcome = co3d(
            *("stream", url, *RANDOM, "--json", "--policy", "every"),
            *("--reconnect", 0.2, "--output", movie),
        )
    assert outcome.code == 15
    assert f"lost {url}" in outcome.err.splitlines()[0]
    assert outcome.err.splitlines()[-1].startswith("error: ")
    lines = [line for line in outcome.lines if line["type"] == "prediction"]
    check_video(movie, lines)
    assert lines[-1]["valid"]
    events = [line for line in outcome.lines if line["type"] == "state"]
    assert [event["state"] for event in events][:3] == ["connecting", "live", "reconnecting"]
    assert events[2]["cause"]
    received = [parse_time(line["received_at"]) for line in lines]
    assert received == sorted(received)
    assert parse_time(events[0]["since"]) <= received[0] <= time.time()
    assert all(line["lag_ms"] >= line["latency_ms"] for line in lines)


def test_ctrl_c_ends_the_wait_for_a_server_that_says_nothing(co3d, monkeypatch):
    monkeypatch.setattr(container, "OPEN_TIMEOUT_SECONDS", 60.0)
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/video"
        timer.start()
        started = time.monotonic()
        outcome = co3d("stream", url, *RANDOM, "--json")
        assert time.monotonic() - started < 30
    timer.join()
    assert outcome.code == 130
    assert [(line["type"], line["state"]) for line in outcome.lines] == [("state", "connecting")]
    assert outcome.err.splitlines()[0] == f"connecting to {url} …"
    assert "Traceback" not in outcome.err
