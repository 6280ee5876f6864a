"""Sources that are neither files nor servers, and names with two possible meanings."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from co3d.errors import (
    CameraError,
    EmptyVideoError,
    MissingPackageError,
    NotAVideoError,
    OptionError,
    SourceNotFoundError,
)
from co3d.video import read_video
from support.rtsp import describe, packetise, read_units

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes and paths of Unix")


@contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """Let file descriptor 0 be a pipe into which these bytes are written."""
    kept, (source, target) = os.dup(0), os.pipe()
    os.dup2(source, 0)
    os.close(source)
    writing = threading.Thread(target=write_all, args=(target, data))
    writing.start()
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        writing.join()


def write_all(target: int, data: bytes) -> None:
    with open(target, "wb") as pipe:
        pipe.write(data)


def feed(fifo: Path, data: bytes) -> threading.Thread:
    """Write into a FIFO from another thread."""
    os.mkfifo(fifo)
    writing = threading.Thread(target=fifo.write_bytes, args=(data,))
    writing.start()
    return writing


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory, make) -> bytes:
    return make(tmp_path_factory.mktemp("pipe") / "film.ts", 20).read_bytes()


def test_standard_input_is_a_video_that_ends(transport_stream, number_of):
    with standard_input(transport_stream), read_video("-") as reader:
        assert not reader.is_live
        assert [number_of(frame.image) for frame in reader] == list(range(20))
        with pytest.raises(OptionError, match="its frames come once"):
            reader.hold_every_frame()


def test_a_pipe_with_policy_latest_is_live_and_ends(tmp_path, transport_stream):
    writing = feed(tmp_path / "fifo", transport_stream)
    with read_video(tmp_path / "fifo", policy="latest", queue_frames=20) as reader:
        assert reader.is_live
        frames = list(reader)
    writing.join()
    assert len(frames) == 20
    assert all(frame.received_seconds for frame in frames)


def test_a_pipe_that_breaks_off_is_damaged(tmp_path, make, drain):
    data = make(tmp_path / "film.mkv", 20, noise=True).read_bytes()
    writing = feed(tmp_path / "fifo", data[: len(data) // 2])
    frames, error = drain(read_video(tmp_path / "fifo"))
    writing.join()
    assert 5 < len(frames) < 15
    assert "is damaged" in str(error)


def test_an_mp4_whose_index_stands_last_cannot_come_through_a_pipe(tmp_path, make):
    writing = feed(
        tmp_path / "fifo", make(tmp_path / "film.mp4", 20, noise=True, size=(320, 240)).read_bytes()
    )
    with pytest.raises((EmptyVideoError, NotAVideoError), match="whose index stands"):
        read_video(tmp_path / "fifo")
    writing.join()


def test_a_fifo_waits_for_its_writer_and_can_be_interrupted(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        read_video(tmp_path / "fifo")
    assert 0.2 < time.monotonic() - started < 30
    timer.join()
    os.close(os.open(tmp_path / "fifo", os.O_WRONLY))  # releases the waiting thread


def test_a_terminal_as_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(OptionError, match="from the terminal"):
        read_video("-")


@pytest.mark.parametrize("form", ["file://{}", "FILE://localhost{}"])
def test_file_addresses_are_files(tmp_path, make, form):
    path = make(tmp_path / "a film.mp4", 5)
    with read_video(form.format(str(path).replace(" ", "%20"))) as reader:
        assert len(list(reader)) == 5
    with pytest.raises(OptionError, match="got host 'elsewhere'"):
        read_video(f"file://elsewhere{path}")
    with pytest.raises(SourceNotFoundError):
        read_video(f"file://{path}.absent")


@pytest.mark.parametrize("name", ["/dev/video97", "/dev/v4l/by-id/usb-absent", "/dev/null"])
def test_devices_are_cameras(name):
    with pytest.raises(CameraError, match=f"cannot open camera {name}: "):
        read_video(name)


def test_a_number_is_a_camera_and_the_error_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2024").mkdir()
    with pytest.raises(CameraError, match=r"folder of this name is \./2024"):
        read_video("2024")
    with pytest.raises(EmptyVideoError, match="holds no pictures"):
        read_video("./2024")


def test_a_build_without_srt_says_so():
    with pytest.raises(MissingPackageError, match="this build of PyAV has no srt"):
        read_video("srt://127.0.0.1:9")


def test_a_session_description_is_a_live_source(tmp_path, make):
    options = {"bf": "0", "x264-params": "sliced-threads=0:slices=1"}
    units = read_units(make(tmp_path / "film.h264", 40, options=options))
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "camera.sdp"
    path.write_text(describe(None).replace("m=video 0", f"m=video {port}"))
    stopping = threading.Event()

    def send() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for packet in packetise(units * 50, 20, 2000):
                sender.sendto(packet, ("127.0.0.1", port))
                if stopping.wait(0.002):
                    return

    sending = threading.Thread(target=send)
    sending.start()
    with read_video(path, policy="every") as reader:
        assert reader.is_live
        assert next(reader).image.shape == (48, 64, 3)
    stopping.set()
    sending.join()


def test_an_sdp_file_without_a_session_is_refused(tmp_path):
    path = tmp_path / "empty.sdp"
    path.write_text("hello")
    with pytest.raises(NotAVideoError, match="describes no session"):
        read_video(path)
