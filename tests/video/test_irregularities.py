"""Sources whose clock jumps back and whose pictures change size: they continue, and say so."""

import threading
from itertools import pairwise

import pytest

from co3d.video import SourceState, read_video
from co3d.video.irregularities import Irregularities
from support.servers import send, serve
from support.videos import make_transport_stream


@pytest.fixture(scope="module")
def odd_bytes(tmp_path_factory) -> bytes:
    """A second from 1000 s on, one from 0 s on, and one of larger pictures."""
    folder = tmp_path_factory.mktemp("odd")
    return (
        make_transport_stream(folder / "a.ts", 16, start_seconds=1000.0)
        + make_transport_stream(folder / "b.ts", 16)
        + make_transport_stream(folder / "c.ts", 16, start_seconds=1.0, size=(160, 96))
    )


def check_frames(frames):
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    steps = [b.pts_seconds - a.pts_seconds for a, b in pairwise(frames)]
    assert steps == pytest.approx([1 / 16] * (len(frames) - 1), abs=1e-3)
    assert not any(frame.gap_seconds for frame in frames)


def test_a_camera_says_that_it_jumped_back_and_changed_size(odd_bytes):
    over, states = threading.Event(), list[SourceState]()

    def answer(handler, _number):
        send(handler, odd_bytes)
        over.wait(30)

    with (
        serve(answer) as url,
        read_video(url, rate_hz=16, policy="every", on_state=states.append) as reader,
    ):
        frames = [next(reader) for _ in range(44)]
        over.set()
        check_frames(frames)
        assert reader.irregularities == Irregularities(jumps_back=1, size_changes=1)
    said = list(dict.fromkeys((state.phase, state.cause) for state in states))
    assert said == [
        ("connecting", None),
        ("live", None),
        ("live", "its clock jumped back by 1000.9 s (jump 1)"),
        ("live", "its pictures now have 160x96 pixels (change 1)"),
    ]


def test_a_file_counts_them_too(odd_bytes, tmp_path):
    path = tmp_path / "odd.ts"
    path.write_bytes(odd_bytes)
    with read_video(path) as reader:
        frames = list(reader)
        assert len(frames) == 48
        check_frames(frames)
        assert reader.irregularities == Irregularities(jumps_back=1, size_changes=1)
