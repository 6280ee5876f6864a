"""The first connection is retried, reports its state, and can be interrupted by Ctrl-C."""

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from itertools import groupby

import pytest

import co3d.video.back_off
import co3d.video.container
from co3d.errors import SourceUnreachableError
from co3d.video import SourceState, read_video
from support.servers import send, serve

pytestmark = pytest.mark.usefixtures("quick_retries")


@contextmanager
def silence():
    """The address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_is_starting_is_tried_until_it_sends(broadcast):
    states: list[SourceState] = []

    def answer(handler, number):
        if number == 0:
            handler.send_error(503)
        elif number == 1:
            handler.send_error(404)
        else:
            send(handler, broadcast)

    with (
        serve(answer) as url,
        read_video(url, policy="every", reconnect_seconds=20, on_state=states.append) as reader,
    ):
        assert next(reader).index == 0
    phases = [state.phase for state in states]
    assert phases == sorted(phases)  # connecting, then live
    assert (states[0], states[-1]) == (SourceState("connecting"), SourceState("live"))
    causes = [state.cause or "" for state in states if state.phase == "connecting"]
    assert any("503" in cause or "5XX" in cause for cause in causes)
    assert any("404" in cause for cause in causes)


def test_the_first_connection_is_retried_for_reconnect_seconds():
    states: list[SourceState] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/video"
    started = time.monotonic()
    with pytest.raises(SourceUnreachableError, match="Connection refused"):
        read_video(url, reconnect_seconds=0.5, on_state=states.append)
    assert time.monotonic() - started >= 0.5
    assert "Connection refused" in (states[-1].cause or "")


@pytest.mark.parametrize("code", [401, 403])
def test_a_server_that_refuses_the_user_is_not_tried_again(code):
    requests = []

    def answer(handler, number):
        requests.append(number)
        handler.send_error(code)

    with serve(answer) as url, pytest.raises(SourceUnreachableError, match=str(code)):
        read_video(url)
    assert len(set(requests)) == 1


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_ctrl_c_interrupts_an_attempt_at_once(scheme, monkeypatch):
    monkeypatch.setattr(co3d.video.container, "OPEN_TIMEOUT_SECONDS", 60.0)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with silence() as address:
        started = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            read_video(f"{scheme}://{address}/video")
        assert time.monotonic() - started < 30
    timer.join()


def test_ctrl_c_interrupts_the_wait_between_attempts(monkeypatch):
    monkeypatch.setattr(co3d.video.back_off, "FIRST_RETRY_SECONDS", 60.0)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with serve(lambda handler, _: handler.send_error(503)) as url:
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            read_video(url)
        assert time.monotonic() - started < 30
    timer.join()


def test_what_a_listener_raises_ends_the_attempt():
    def leave(state):
        raise BrokenPipeError

    with silence() as address, pytest.raises(BrokenPipeError):
        read_video(f"http://{address}/video", on_state=leave)


def test_a_live_source_says_that_it_was_lost_and_is_back(tmp_path, make):
    options = {"flvflags": "no_duration_filesize"}
    parts = [
        make(tmp_path / f"{n}.flv", 20, noise=True, seed=n, container_options=options).read_bytes()
        for n in range(3)
    ]
    states: list[SourceState] = []
    with (
        serve(lambda handler, number: send(handler, parts[number])) as url,
        read_video(url, policy="every", queue_frames=1, on_state=states.append) as reader,
    ):
        frames = [next(reader) for _ in range(30)]
    assert [frame.index for frame in frames] == list(range(30))
    phases = [phase for phase, _ in groupby(states, lambda state: state.phase)]
    assert phases[:4] == ["connecting", "live", "reconnecting", "live"]
