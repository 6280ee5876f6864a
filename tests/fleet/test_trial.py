"""Filling an engine with copies of a camera."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from co3d import convert
from co3d.engine.camera import Camera
from co3d.errors import DamagedVideoError
from co3d.fleet import played_camera, trial
from co3d.fleet.trial import FrameCost, fill_engine
from co3d.runtime import CompiledProgram
from co3d.runtime import compile as compile_program
from co3d.video import VideoFrame

DAMAGE = DamagedVideoError("door.mp4 is damaged; fetch it again")


class Copies:
    """Stands for the copies: each sends some frames and then waits, or fails."""

    dropped_frames, elsewhere_seconds = 0, 0.0

    def __init__(self, frames: int, error: Exception | None = None) -> None:
        self.count, self._frames, self._error = 0, frames, error

    def __call__(self, _camera: Camera, _rate_hz: float, is_over: threading.Event) -> "Copies":
        self.count, self._is_over = self.count + 1, is_over
        return self

    def __iter__(self) -> Iterator[VideoFrame]:
        for number in range(self._frames):
            yield VideoFrame(np.zeros((32, 32, 3), np.uint8), number / 8, number)
        if self._error is not None:
            raise self._error
        self._is_over.wait()


@pytest.fixture(scope="module")
def compiled(network) -> CompiledProgram:
    return compile_program(convert(network, network.card.clip_shape), backend="torch")


@pytest.fixture
def fill(compiled, network, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.2)
    monkeypatch.setattr(trial, "PERIODS", 0)
    monkeypatch.setattr(trial, "ROUND_SECONDS", 0.02)

    def fill(copies: Copies, rate_hz: float = 0.01) -> FrameCost:
        monkeypatch.setattr(played_camera, "PlayedCamera", copies)
        return fill_engine(compiled, network.card, Camera("door", "door.mp4", rate_hz=rate_hz))

    return fill


def test_no_copy_joins_before_the_others_are_measured(fill):
    copies = Copies(1)  # the first frame tells nothing of pictures between two
    cost = fill(copies)
    assert copies.count == 1
    assert cost.step_ms > 0


def test_there_is_a_limit_to_the_copies(fill, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 60.0)  # it does not take that long
    monkeypatch.setattr(trial, "MOST_COPIES", 9)
    copies = Copies(2)
    cost = fill(copies)
    assert copies.count == 9
    assert cost.source_ms > 0


def test_a_camera_that_cannot_be_played_is_an_error(fill):
    with pytest.raises(DamagedVideoError):
        fill(Copies(0, DAMAGE))


def test_a_copy_that_fails_later_ends_it(fill, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 60.0)
    monkeypatch.setattr(trial, "MOST_COPIES", 9)

    class LaterFailing(Copies):
        def __iter__(self) -> Iterator[VideoFrame]:
            self._error = DAMAGE if self.count > 2 else None
            yield from super().__iter__()

    copies = LaterFailing(2)
    assert fill(copies).source_ms > 0
    assert copies.count > 2
