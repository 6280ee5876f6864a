"""Ctrl-C, SIGTERM, SIGHUP and a closed pipe, in processes of their own."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

from co3d.video import read_video

RANDOM = ("--weights", "random")
# What processes of their own open soonest: a program that is in the cache, and nothing to measure.
SOON = ("--backend", "torch")
PATIENCE_SECONDS = 120


def read_lines(process, count: int) -> list[dict]:
    return [json.loads(process.stdout.readline()) for _ in range(count)]


def test_ctrl_c_ends_cleanly(spawn_co3d, long_video, tmp_path):
    movie, picture = tmp_path / "out.mp4", tmp_path / "out.png"
    process = spawn_co3d(
        "stream", long_video, *SOON, "--json", "--output", movie, "--timeline", picture
    )
    first = read_lines(process, 10)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    predictions = first + [json.loads(line) for line in rest.splitlines()]
    assert len(predictions) < 2000
    check_outputs(tmp_path, predictions)
    assert f"{len(predictions)} frames described" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_frame_waits_for_it(
    co3d, long_video, tmp_path, monkeypatch, number
):
    def add_and_signal(_self, prediction):
        if prediction.frame.index == 20:
            signal.raise_signal(number)
        lines.append({"pts_seconds": prediction.frame.pts_seconds})

    lines = []
    monkeypatch.setattr("co3d.cli.lines.JsonLines.add", add_and_signal)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    outputs = ("--output", tmp_path / "out.mp4", "--timeline", tmp_path / "out.png")
    outcome = co3d("stream", long_video, *RANDOM, "--json", *outputs)
    assert outcome.code == 130
    assert len(lines) == 25  # to the frame at hand, and the four that the network had seen
    check_outputs(tmp_path, lines)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


@pytest.mark.parametrize("form", [(), pytest.param(("--json",), marks=pytest.mark.slow)])
def test_a_terminal_that_goes_away_leaves_whole_outputs(long_video, tmp_path, form):
    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    terminal, inner = pty.openpty()
    code = "from co3d.cli.main import run; run()"
    outputs = ("--output", tmp_path / "out.mp4", "--timeline", tmp_path / "out.png")
    process = subprocess.Popen(
        [sys.executable, "-c", code, "stream", long_video, *SOON, *form, *outputs],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        preexec_fn=take_terminal,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(inner)
    shown_bytes = 0
    while shown_bytes < 10_000:
        shown_bytes += len(os.read(terminal, 4096))
    os.close(terminal)
    assert process.wait(PATIENCE_SECONDS) == 130
    with read_video(tmp_path / "out.mp4") as reader:
        assert 3 < sum(1 for _ in reader) < 2000
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.png"}


def test_an_ignored_hang_up_stays_ignored(co3d, video, monkeypatch):
    monkeypatch.setattr(
        "co3d.cli.lines.JsonLines.add", lambda *_: signal.raise_signal(signal.SIGHUP)
    )
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert co3d("stream", video, *RANDOM, "--json").code == 0
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_second_signal_interrupts_and_leaves_no_file(co3d, long_video, tmp_path, monkeypatch):
    def add_and_signal_twice(_self, prediction):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("co3d.cli.lines.JsonLines.add", add_and_signal_twice)
    outcome = co3d("stream", long_video, *RANDOM, "--json", "--timeline", tmp_path / "out.png")
    assert outcome.code == 130
    assert not list(tmp_path.iterdir())


def check_outputs(folder, predictions) -> None:
    """The video holds the frames of the predictions and no other; the picture is whole."""
    with read_video(folder / "out.mp4") as reader:
        times = [frame.pts_seconds for frame in reader]
    assert times == pytest.approx([line["pts_seconds"] for line in predictions], abs=1e-3)
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {"out.mp4", "out.png"}


def test_a_reader_that_goes_away_ends_it_quietly(spawn_co3d, long_video, tmp_path):
    movie = tmp_path / "out.mp4"
    process = spawn_co3d("stream", long_video, *SOON, "--json", "--output", movie)
    read_lines(process, 3)
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 141
    assert errors == ""
    with read_video(movie) as reader:
        assert sum(1 for _ in reader) >= 3
