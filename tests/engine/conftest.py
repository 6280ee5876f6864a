from pathlib import Path

import pytest

from co3d.engine import Labeller, open_labeller
from support.videos import write_video


@pytest.fixture(scope="session")
def clip_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames at 16 per second: sampled at 8 Hz, the clip length of the model."""
    return write_video(tmp_path_factory.mktemp("engine") / "clip.mp4", 16)


@pytest.fixture(scope="session")
def labeller() -> Labeller:
    return open_labeller("camera_motion", weights="random")
