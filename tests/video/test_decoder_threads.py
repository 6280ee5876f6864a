"""How many system threads decode a source."""

import sys
from pathlib import Path

import numpy as np
import pytest

from co3d.video import read_video
from support.servers import send, serve
from support.videos import make_broadcast, write_video

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")


def count_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_a_file_may_be_decoded_without_further_threads(tmp_path):
    path = write_video(tmp_path / "video.mp4", 40)
    before = count_threads()
    with read_video(path, decoder_threads=1) as reader:
        next(reader)
        assert count_threads() == before


def test_a_live_source_takes_two_threads(tmp_path):
    data = make_broadcast(tmp_path / "live.flv", 160)

    def answer(handler, _number):
        served.append(count_threads())
        send(handler, data)

    served: list[int] = []
    with serve(answer) as url, read_video(url, decoder_threads=1, reconnect_seconds=0) as reader:
        next(reader)
        # The server answered in a thread of its own, and the connection was made in another.
        assert count_threads() - served[0] <= 2


def test_pictures_do_not_depend_on_threads(tmp_path):
    path = write_video(tmp_path / "video.mp4", 12, size=(322, 242))
    alone = list(read_video(path, decoder_threads=1))
    together = list(read_video(path))
    assert len(alone) == 12
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.image, other.image)
