"""Videos that a sandboxed process decodes give the reader the same frames, notices and errors."""

import os
import signal
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import co3d
from co3d.errors import (
    DamagedVideoError,
    OptionError,
    SandboxError,
    SourceNotFoundError,
    SourceUnreachableError,
)
from co3d.sandbox import find_sandbox
from co3d.sandbox_child import ParentChannel
from co3d.video import sandboxed_source
from co3d.video.indexed_opening import open_indexed_video
from co3d.video.source_state import SourceState, StateListener

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no memory is shared there")
RATE_HZ = 10.0


@pytest.fixture(scope="module")
def sandbox():
    with co3d.read_in_sandbox() as opened:
        yield opened


@pytest.fixture
def without(sandbox, monkeypatch):
    """Read in this process again."""
    return lambda: monkeypatch.setattr("co3d.sandbox._reading", [])


@pytest.fixture
def video(tmp_path):
    """Forty pictures of noise, with half a second of repeats."""
    rng = np.random.default_rng(7)
    path = tmp_path / "vidéo.mp4"
    with co3d.VideoWriter(path, 20.0) as writer:
        for number in range(40):
            picture = rng.integers(0, 255, (32, 48, 3), np.uint8)
            writer.write(picture, number / 20 + (0.5 if number > 20 else 0.0))
    return path


def read_all(path, **options):
    """Frames, the reader's attributes, and the error at the end."""
    frames, error = [], None
    with co3d.read_video(path, rate_hz=RATE_HZ, **options) as reader:
        try:
            frames += reader
        except DamagedVideoError as raised:
            error = str(raised)
        facts = (reader.width, reader.height, reader.frame_count, reader.duration_seconds)
        return frames, (*facts, reader.source_rate_hz, reader.notices, reader.damage, error)


def assert_same(first, second):
    assert first[1] == second[1]
    assert len(first[0]) == len(second[0]) > 0
    for mine, theirs in zip(first[0], second[0], strict=True):
        pairs = (vars(mine) | {"image": None}, vars(theirs) | {"image": None})
        assert pairs[0] == pairs[1]
        assert np.array_equal(mine.image, theirs.image)
    repeats = [[a is b for a, b in pairwise(frames)] for frames, _ in (first, second)]
    assert repeats[0] == repeats[1]  # a repeated picture is sent once


@pytest.mark.parametrize("options", [{}, {"gap": "reset", "rotate": 90, "crop": (1, 2, 20, 30)}])
def test_frames_are_the_same(sandbox, without, video, options):
    inside = read_all(video, **options)
    without()
    assert_same(inside, read_all(video, **options))


def test_the_processor_time_of_the_process_that_decodes_is_told(sandbox, video):
    with co3d.read_video(video, rate_hz=RATE_HZ) as reader:
        assert reader.elsewhere_seconds == 0
        spent_seconds = [reader.elsewhere_seconds for _ in reader]
    assert 0 < spent_seconds[0] < spent_seconds[-1]


def test_damage_is_reported(sandbox, without, video):
    data = bytearray(video.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    video.write_bytes(data)
    inside = read_all(video)
    without()
    outside = read_all(video)
    assert_same(inside, outside)
    assert outside[1][-1] is not None


def test_the_sandbox_raises_the_same_errors(sandbox, tmp_path):
    with pytest.raises(SourceNotFoundError, match="no such file; check the path"):
        co3d.read_video(tmp_path / "absent.mp4")
    with pytest.raises(SourceUnreachableError, match="9"):
        co3d.read_video("http://127.0.0.1:9/a.mp4", reconnect_seconds=0)


def test_a_decoder_that_dies_ends_its_own_video_alone(sandbox, video, monkeypatch):
    monkeypatch.setattr(sandboxed_source, "serve_source", serve_two)
    with co3d.read_video(video) as reader:
        monkeypatch.undo()
        with co3d.read_video(video) as other:
            next(other)
            with pytest.raises(SandboxError, match=r"vidéo\.mp4: .*exit code -11"):
                list(reader)
            assert len(list(other)) == 39


def serve_two(channel: ParentChannel, *arguments):
    sent = channel.say
    said = []

    def say(message):
        said.append(message)
        if len(said) > 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        sent(message)

    channel.say = say
    sandboxed_source.serve_source(channel, *arguments)


def test_stopping_ends_the_iteration_and_the_process_serves_on(sandbox, video):
    with co3d.read_video(video) as reader:
        next(reader)
        reader.stop()
        assert list(reader) == []
    process = sandbox.run(os.getpid)
    with co3d.read_video(video) as reader:
        next(reader)
    assert sandbox.run(os.getpid) == process


def test_frames_by_number_are_the_same(sandbox, without, video):
    inside = open_indexed_video(video)
    got = inside.read([3, 3, 9])
    times = inside.times_seconds
    inside.close()
    without()
    outside = open_indexed_video(video)
    assert np.array_equal(outside.read([3, 3, 9]), got)
    assert np.array_equal(outside.times_seconds, times)
    outside.close()


@pytest.mark.parametrize("options", [{"source": "-"}, {"record": "kept"}])
def test_sources_that_a_sandbox_cannot_read_are_refused(
    sandbox, video, tmp_path, monkeypatch, options
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OptionError, match="sandbox"):
        co3d.read_video(**{"source": video, **options})


def test_no_sandbox_is_open_by_default(without):
    without()
    assert find_sandbox() is None


def test_a_source_that_changes_when_nobody_listens_any_more_ends_without_an_error(monkeypatch):
    channel: Any = SimpleNamespace(is_over=True, say=None)
    request: Any = None

    def open_source(_request: object, _recorder: None, tell: StateListener) -> None:
        tell(SourceState("reconnecting"))
        raise AssertionError("it goes on")

    monkeypatch.setattr(sandboxed_source, "open_source", open_source)
    sandboxed_source.serve_source(channel, request, copies_packets=False)
