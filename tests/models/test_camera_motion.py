"""The bundled network: size, gradients, its own weights, and what it makes of unseen pictures."""

from importlib import resources

import pytest
import torch

import co3d
from co3d.datasets.generated.camera_motion import draw_clips
from co3d.datasets.generated.canvases import build_canvases
from co3d.errors import InputShapeError
from co3d.models.camera_motion import CAMERA_MOTION_CARD, CAMERA_MOTIONS, CameraMotionNet


def test_it_has_at_most_half_a_million_parameters_and_two_megabytes_of_weights():
    assert sum(parameter.numel() for parameter in CameraMotionNet().parameters()) <= 500_000
    weights = resources.files("co3d") / "assets" / CAMERA_MOTION_CARD.bundled_weights
    assert len(weights.read_bytes()) <= 2_000_000


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (8, 64, 64), (13, 48, 80)])
def test_it_takes_clips_of_any_length_and_size(frames, height, width):
    model = CameraMotionNet(num_classes=5).eval()
    assert model(torch.rand(2, 3, frames, height, width)).shape == (2, 5)


def test_it_refuses_frames_that_are_too_small():
    with pytest.raises(InputShapeError, match="16x16"):
        CameraMotionNet()(torch.rand(1, 3, 8, 15, 64))


def test_every_parameter_gets_a_gradient():
    model = CameraMotionNet(dropout=0.0)
    model(torch.rand(2, 3, 8, 32, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_its_delay_is_the_reach_of_its_convolutions_in_time():
    model = CameraMotionNet().eval()
    frames = 15
    clip = torch.rand(1, 3, frames, 32, 32, generator=torch.Generator().manual_seed(0))
    clip.requires_grad_()
    model.features(clip)[0, :, frames // 2].sum().backward()
    assert clip.grad is not None
    seen = clip.grad.abs().sum((0, 1, 3, 4)).nonzero().flatten().tolist()
    assert seen == list(range(7 - model.delay, 7 + model.delay + 1))


def test_its_weights_and_labels_are_loaded_by_default():
    model = co3d.create_model("camera_motion")
    assert model.card.labels == CAMERA_MOTIONS
    assert not model.training


@pytest.fixture(scope="module")
def unseen():
    canvases = build_canvases("test", textures_per_kind=0, crops_per_photograph=12)
    return draw_clips(canvases, 198, torch.Generator().manual_seed(11))


def test_it_recognises_motions_over_unseen_photographs(unseen):
    with torch.inference_mode():
        predicted = co3d.create_model("camera_motion")(unseen.clips).argmax(1)
    assert (predicted == unseen.labels).float().mean() >= 0.9


def test_random_weights_recognise_nothing(unseen):
    model = co3d.create_model("camera_motion", "random")
    with torch.inference_mode():
        predicted = model(unseen.clips).argmax(1)
    assert (predicted == unseen.labels).float().mean() <= 0.4
