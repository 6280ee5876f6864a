"""Sign conventions of the virtual camera, seen on a white marker on black."""

import math

import pytest
import torch
from torch import Tensor

from co3d.datasets.generated.virtual_camera import CameraPath, render

SIDE_PX = 64


def path(x=0.0, y=0.0, log_zoom=0.0, angle=0.0) -> CameraPath:
    """Two frames: at rest, then moved by the given amounts."""
    return CameraPath(*(torch.tensor([[0.0, amount]]) for amount in (x, y, log_zoom, angle)))


def marker(right_px: int = 0, down_px: int = 0) -> Tensor:
    """A picture (1, 1, 256, 256) with a 9 px square this far from its centre."""
    picture = torch.zeros(1, 1, 256, 256)
    row, column = 128 + down_px, 128 + right_px
    picture[:, :, row - 4 : row + 5, column - 4 : column + 5] = 1
    return picture


def film(picture: Tensor, camera: CameraPath) -> Tensor:
    return render(picture, camera.view_points(SIDE_PX, SIDE_PX), torch.tensor([float(SIDE_PX)]))


def centroid(frame: Tensor) -> tuple[float, float]:
    """(right, down) of the frame's mass from its centre, in pixels."""
    offsets = torch.arange(SIDE_PX) + 0.5 - SIDE_PX / 2
    mass = frame.sum()
    return float((frame.sum(0) * offsets).sum() / mass), float(
        (frame.sum(1) * offsets).sum() / mass
    )


def test_a_camera_at_rest_sees_the_picture_pixel_for_pixel():
    picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    frame = film(picture, path())[0, :, 0]
    torch.testing.assert_close(frame, picture[0, :, 96:160, 96:160], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("camera", "content_moves"),
    [
        (path(x=+0.25), (-16, 0)),  # pan right: content moves left
        (path(x=-0.25), (+16, 0)),
        (path(y=-0.25), (0, +16)),  # tilt up: content moves down
        (path(y=+0.25), (0, -16)),
    ],
)
def test_content_moves_against_pan_and_tilt(camera, content_moves):
    clip = film(marker(), camera)[0, 0]
    before, after = centroid(clip[0]), centroid(clip[1])
    moved = (after[0] - before[0], after[1] - before[1])
    assert moved == pytest.approx(content_moves, abs=0.05)


@pytest.mark.parametrize(("log_zoom", "growth"), [(math.log(2), 2.0), (-math.log(2), 0.5)])
def test_content_grows_as_the_camera_zooms_in(log_zoom, growth):
    clip = film(marker(right_px=10), path(log_zoom=log_zoom))[0, 0]
    assert float(clip[1].sum() / clip[0].sum()) == pytest.approx(growth**2, rel=0.1)
    assert centroid(clip[1])[0] == pytest.approx(growth * centroid(clip[0])[0], abs=0.5)


def test_content_turns_counter_clockwise_as_the_camera_rolls_clockwise():
    clip = film(marker(right_px=20), path(angle=math.pi / 2))[0, 0]
    before, after = centroid(clip[0]), centroid(clip[1])
    assert before == pytest.approx((20.5, 0.5), abs=0.1)
    # Three o'clock has gone up to twelve.
    assert after == pytest.approx((0.5, -20.5), abs=0.1)


def test_moving_pictures_keep_their_own_time():
    pictures = torch.stack((torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)), dim=2)
    clip = render(pictures, path(x=0.3).view_points(8, 8), torch.tensor([32.0]))
    assert clip.shape == (1, 1, 2, 8, 8)
    assert torch.equal(clip[0, 0, 0], torch.zeros(8, 8))
    assert torch.equal(clip[0, 0, 1], torch.ones(8, 8))


def test_the_world_goes_on_beyond_the_picture_as_its_mirror_image():
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    clip = film(picture, path(x=1.0))
    torch.testing.assert_close(clip[:, :, 1], picture.flip(-1), rtol=0, atol=1e-4)
