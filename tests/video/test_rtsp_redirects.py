"""RTSP cameras lead nowhere else, whoever chose them."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import av
import pytest

from co3d.errors import OptionError, SourceUnreachableError
from co3d.video import read_video
from co3d.video.access import NETWORK_OPTIONS
from co3d.video.allowance import Allowance
from support.rtsp import serve_rtsp

pytestmark = pytest.mark.usefixtures("quick_retries")

ALLOWED = Allowance(["rtsp://127.0.0.0/8"])
OPTIONS = b"RTSP/1.0 200 OK\r\nCSeq: NUMBER\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"


@contextmanager
def answer_by(*answers: bytes) -> Iterator[tuple[int, list[int]]]:
    """A server that gives each request the next answer; its port, and one entry per connection."""
    came: list[int] = []

    def talk(connection: socket.socket) -> None:
        for answer in answers:
            number = re.search(rb"CSeq: (\d+)", connection.recv(65536))
            if number is None:
                return
            connection.sendall(answer.replace(b"NUMBER", number[1]))
        connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with suppress(OSError):  # once the server is closed
                while True:
                    connection, _ = server.accept()
                    came.append(1)
                    with connection, suppress(OSError):
                        talk(connection)

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


def write_redirect(status: bytes, location: bytes) -> bytes:
    return b"\r\n".join(
        (b"RTSP/1.0 " + status, b"CSeq: NUMBER", b"Location: " + location, b"", b"")
    )


@pytest.mark.parametrize("allowance", [ALLOWED, None], ids=["allowed", "any"])
@pytest.mark.parametrize(
    ("status", "scheme"),
    [
        (b"302 Moved", b"rtsp"),
        (b"301 Moved", b"RTSP"),
        (b"0302", b"rtspu"),
        (b"+305", b"tcp"),
        (b"4294967598", b"http"),  # 302 in 32 bits
    ],
)
def test_a_redirect_is_not_followed(allowance, status, scheme):
    with answer_by() as (inside, came):
        redirect = write_redirect(status, scheme + b"://127.0.0.1:%d/secret" % inside)
        with answer_by(OPTIONS, redirect) as (port, asked):
            url = f"rtsp://me:word@127.0.0.1:{port}/a"
            with pytest.raises(SourceUnreachableError) as refused:
                read_video(url, reconnect_seconds=0, allowance=allowance)
            assert asked
        assert "word" not in str(refused.value)
        assert not came


def test_ffmpeg_would_follow_one_if_it_might():
    """Else the test before this one would prove nothing."""
    options = dict(NETWORK_OPTIONS["rtsp"])
    options["protocol_whitelist"] += ",rtsp"
    with answer_by() as (inside, came):
        redirect = write_redirect(b"302 Moved", b"rtsp://127.0.0.1:%d/secret" % inside)
        with answer_by(OPTIONS, redirect) as (port, _), pytest.raises(av.FFmpegError):
            av.open(f"rtsp://127.0.0.1:{port}/a", container_options=options, timeout=5)
        assert came


def test_a_camera_that_somebody_else_chose_sends_over_tcp_alone(tmp_path, make, drain):
    options = {"bf": "0", "x264-params": "sliced-threads=0:slices=1"}
    film = make(tmp_path / "film.h264", 20, options=options)
    with serve_rtsp(film, 20, [20], 1.0) as url:
        frames, error = drain(read_video(url, reconnect_seconds=5, allowance=ALLOWED))
    assert (len(frames), error) == (20, None)
    with serve_rtsp(film, 20, [20] * 2, None, transport="udp") as url:
        with pytest.raises(OptionError, match="over UDP, expected TCP"):
            read_video(url, reconnect_seconds=0, rtsp_transport="udp", allowance=ALLOWED)
        with pytest.raises(SourceUnreachableError):
            read_video(url, reconnect_seconds=0, allowance=ALLOWED)
