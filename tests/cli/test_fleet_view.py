"""The table of `co3d watch`."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from co3d.cli.fleet_view import FleetView
from co3d.console import Console
from co3d.engine import Prediction
from co3d.engine.camera import Camera
from co3d.engine.followed_camera import CameraStatus
from co3d.video import SourceState, VideoFrame
from co3d.video.irregularities import Irregularities


@pytest.fixture
def draw():
    """The table's text for one live camera with a prediction."""

    def draw(*, is_undersampled: bool, jumps_back: int = 0, size_changes: int = 0) -> str:
        status = CameraStatus(
            Camera("door", "rtsp://host"),
            SourceState("live"),
            None,
            Irregularities(jumps_back, size_changes),
            has_ended=False,
            error=None,
        )
        watch = SimpleNamespace(statuses=lambda: {"door": status}, lost_predictions=0)
        engine = SimpleNamespace(
            labels=("still",),
            load=0.5,
            step_cost_ms=1.0,
            card=SimpleNamespace(name="net"),
            compiled=SimpleNamespace(backend="native"),
        )
        written = io.StringIO()
        console = Console(file=written, width=120)
        view = FleetView(console, engine, watch)  # type: ignore[arg-type]
        frame = VideoFrame(np.empty((0, 0, 3), np.uint8), 1.0, 8)
        view.add(
            Prediction(
                *(frame, 0.0, 1.5, True, is_undersampled),
                np.ones(1, np.float32),
                (("still", 1.0),),
                *(0.1, 1.0, 0),
                track="door",
            )
        )
        console.print(view._draw())
        return written.getvalue()

    return draw


def test_a_camera_with_too_few_pictures_is_marked(draw):
    assert "live, undersampled" in draw(is_undersampled=True)


def test_a_camera_with_enough_pictures_is_not(draw):
    text = draw(is_undersampled=False)
    assert "live" in text
    assert "undersampled" not in text


def test_jumps_back_and_changes_of_size_are_counted(draw):
    assert "live, jumps back: 2" in draw(is_undersampled=False, jumps_back=2)
    assert "live, size changes: 1" in draw(is_undersampled=False, size_changes=1)
