"""Random paths: the named motion is there, fast enough, and alone."""

import pytest
import torch

from co3d.datasets.generated.motions import (
    DIRECTIONS,
    SHAKE,
    SPEEDS,
    draw_paths,
    draw_velocities,
)
from co3d.models.camera_motion import CAMERA_MOTIONS

RATE_HZ = 8.0


def test_every_motion_but_static_has_one_direction_of_its_own():
    assert set(DIRECTIONS) == set(CAMERA_MOTIONS) - {"static"}
    assert len(set(DIRECTIONS.values())) == len(DIRECTIONS)


@pytest.mark.parametrize("label", range(len(CAMERA_MOTIONS)))
def test_velocity_lies_on_the_named_axis_between_slowest_and_fastest(label):
    labels = torch.full((200,), label)
    velocities = draw_velocities(labels, torch.Generator().manual_seed(label))
    named = DIRECTIONS.get(CAMERA_MOTIONS[label])
    for axis, speed in SPEEDS.items():
        values = velocities[:, axis]
        if named and named[0] == axis:
            values = named[1] * values
            assert values.min() >= speed.slowest - 1e-6
            assert values.max() <= speed.fastest + 1e-6
            assert values.max() > 2 * values.min(), "speeds vary"
        else:
            assert values.abs().max() <= speed.drift
    assert all(speed.drift <= speed.slowest / 4 for speed in SPEEDS.values())


def test_the_path_travels_at_the_drawn_speed_apart_from_shake():
    labels = torch.arange(len(CAMERA_MOTIONS))
    seed = torch.Generator().manual_seed(5)
    velocities = draw_velocities(labels, torch.Generator().manual_seed(5))
    path = draw_paths(labels, 33, RATE_HZ, seed)
    poses = torch.stack((path.x, path.y, path.log_zoom, path.angle), -1)
    travelled = poses[:, -1] - poses[:, 0]
    shake = 8 * SHAKE  # both ends at the peak of every tone
    assert ((travelled - velocities * 32 / RATE_HZ).abs() <= shake + velocities.abs()).all()
    assert (travelled[1:].abs() > 0).all()


def test_paths_repeat_with_their_seed_and_differ_without():
    labels = torch.zeros(4, dtype=torch.int64)
    paths = [draw_paths(labels, 8, RATE_HZ, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(paths[0].x, paths[1].x)
    assert not torch.equal(paths[0].x, paths[2].x)
