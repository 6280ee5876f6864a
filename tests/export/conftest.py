import pytest
import torch
from torch import Tensor

import co3d
from co3d.compiler import StepProgram
from co3d.models import ClipModel


@pytest.fixture(scope="session")
def model() -> ClipModel:
    return co3d.create_model("camera_motion")


@pytest.fixture(scope="session")
def program(model: ClipModel) -> StepProgram:
    return co3d.convert(model, model.card.clip_shape, edges="both")


@pytest.fixture(scope="session")
def frames(program: StepProgram) -> list[Tensor]:
    """Twenty signed random frames (1, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, *program.frame_shape, generator=generator) for _ in range(20)]


@pytest.fixture(scope="session")
def sample_frames(model: ClipModel) -> list[Tensor]:
    """The frames of the bundled sample as network inputs, in order."""
    from importlib import resources

    with resources.as_file(resources.files("co3d").joinpath("assets/sample.mp4")) as path:
        reader = co3d.read_video(str(path), rate_hz=model.card.rate_hz)
        return [model.card.preprocess(frame.image) for frame in reader]
