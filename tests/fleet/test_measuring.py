"""What a camera costs: measured with copies of a recording of it."""

import threading
from itertools import islice

import numpy as np
import pytest

from co3d import convert
from co3d.engine.camera import Camera
from co3d.fleet import measuring, trial
from co3d.fleet.measuring import measure_camera
from co3d.fleet.played_camera import PlayedCamera
from co3d.runtime import compile as compile_program
from support.servers import send, serve
from support.videos import make_broadcast, write_video


class PatientEvent(threading.Event):
    """Waits no time, and remembers how long it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.waits_seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits_seconds.append(timeout)
        return self.is_set()


def test_a_recording_is_played_at_its_own_speed_again_and_again(tmp_path):
    camera = Camera("door", str(write_video(tmp_path / "door.mp4", 16)))  # one second
    is_over = PatientEvent()
    frames = list(islice(PlayedCamera(camera, 8.0, is_over), 20))
    assert [frame.pts_seconds for frame in frames[8:16]] == [number / 8 for number in range(8)]
    assert np.array_equal(frames[3].image, frames[11].image)
    # Reading takes some of each frame's time, never more than there is.
    due_seconds = [number / 8 for number in range(20)]  # a play begins where the last one ends
    assert all(0 <= w <= due for w, due in zip(is_over.waits_seconds, due_seconds, strict=True))
    assert is_over.waits_seconds[7] > due_seconds[6]
    is_over.set()
    assert list(PlayedCamera(camera, 8.0, is_over)) == []


def test_a_single_picture_is_played_at_the_rate(tmp_path):
    camera, is_over = Camera("door", str(write_video(tmp_path / "door.mp4", 1))), PatientEvent()
    assert len(list(islice(PlayedCamera(camera, 4.0, is_over), 3))) == 3
    assert 1 / 4 < is_over.waits_seconds[2] <= 2 / 4


@pytest.mark.usefixtures("sandboxed_or_not")
def test_a_live_camera_is_opened_once_and_its_recording_measured(tmp_path, network, monkeypatch):
    monkeypatch.setattr(measuring, "RECORDED_SECONDS", 2.0)
    monkeypatch.setattr(trial, "SECONDS", 1.0)
    data, requests = make_broadcast(tmp_path / "live.flv", 64), list[int]()

    def answer(handler, number: int) -> None:
        requests.append(number)
        send(handler, data)

    compiled = compile_program(convert(network, network.card.clip_shape), backend="torch")
    with serve(answer) as url:
        cost = measure_camera(
            compiled, network.card, Camera("door", url, regions=((0, 0, 32, 32),))
        )
    assert requests == [0]
    assert (cost.width, cost.height, cost.rate_hz) == (96, 64, 8.0)
    assert cost.bit_rate_kbps == pytest.approx(len(data) * 8 / 1e3 / 4, rel=0.3)
    assert cost.source_ms > 0
    assert cost.step_ms > 0
    assert cost.state_bytes == compiled.program.state_bytes
