"""Long paths: segments as labelled, on the camera's own axes."""

import itertools
import math

import pytest
import torch

from co3d.datasets.generated.journeys import draw_journeys, ease, follow
from co3d.datasets.generated.motions import ANGLE, DIRECTIONS, LOG_ZOOM, SPEEDS, X
from co3d.models.camera_motion import CAMERA_MOTIONS

RATE_HZ = 8.0


def changes_of(labels):
    return [0, *((labels[1:] != labels[:-1]).nonzero().flatten() + 1).tolist()]


def test_a_journey_goes_through_segments_of_three_to_four_seconds():
    path, labels = draw_journeys(6, 400, RATE_HZ, torch.Generator().manual_seed(2))
    assert path.x.shape == labels.shape == (6, 400)
    for row in labels:
        lengths = [end - start for start, end in itertools.pairwise(changes_of(row))]
        assert min(lengths) >= 24
        assert max(lengths) <= 32
    assert path.log_zoom.abs().max() < 1.2, "no picture has the resolution for more"
    again, _ = draw_journeys(6, 400, RATE_HZ, torch.Generator().manual_seed(2))
    assert torch.equal(path.angle, again.angle)


def test_a_journey_moves_as_its_labels_say():
    path, labels = draw_journeys(6, 400, RATE_HZ, torch.Generator().manual_seed(3))
    for row in range(6):
        for start, end in itertools.pairwise(changes_of(labels[row])):
            named = DIRECTIONS.get(CAMERA_MOTIONS[int(labels[row, start])])
            if named is None:
                continue
            axis, sign = named
            first, last = path[row : row + 1, start], path[row : row + 1, end - 1]
            right, down = last.x - first.x, last.y - first.y
            scale, cos, sin = first.log_zoom.exp(), first.angle.cos(), first.angle.sin()
            travelled = (
                scale * (cos * right + sin * down),
                scale * (cos * down - sin * right),
                last.log_zoom - first.log_zoom,
                last.angle - first.angle,
            )
            assert sign * travelled[axis] > 0.8 * SPEEDS[axis].slowest


def test_a_camera_on_its_side_pans_along_its_own_axis():
    velocities = torch.zeros(1, 8, 4)
    velocities[..., X] = 1.0
    start = torch.zeros(1, 4)
    start[:, ANGLE] = math.pi / 2
    start[:, LOG_ZOOM] = math.log(2)
    path = follow(velocities, start, RATE_HZ)
    # Rolled clockwise by a quarter, the camera's right is the world's down; at magnification 2,
    # a frame is half as wide.
    assert float(path.x[0, -1]) == pytest.approx(0, abs=1e-6)
    assert float(path.y[0, -1]) == pytest.approx(0.5, abs=1e-6)


def test_easing_starts_and_ends_slowly():
    speeds = ease(20, 4)
    assert speeds.max() == 1
    assert speeds[0] < 0.1
    assert torch.equal(speeds, speeds.flip(0))
    assert (speeds[:4].diff() > 0).all()
