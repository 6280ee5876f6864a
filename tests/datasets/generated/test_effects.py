"""Effects change pictures, never what the camera did, and stay repeatable."""

import pytest
import torch

from co3d.datasets.generated import effects

RATE_HZ = 8.0


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clips():
    return torch.rand(3, 3, 4, 16, 16, generator=generator(9))


@pytest.fixture
def points():
    axis = torch.linspace(-0.5, 0.5, 16)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((u, v), -1).expand(3, 4, 16, 16, 2).contiguous()


@pytest.mark.parametrize(
    "effect", [effects.blur, effects.recolour, effects.change_exposure, effects.add_noise]
)
def test_an_effect_keeps_the_shape_changes_the_clip_and_repeats(effect, clips):
    first, again = effect(clips.clone(), generator()), effect(clips.clone(), generator())
    assert first.shape == clips.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, clips)
    assert torch.isfinite(first).all()


def test_blur_keeps_the_mean_and_lowers_contrast(clips):
    soft = effects.blur(clips, generator())
    assert soft.mean() == pytest.approx(clips.mean().item(), abs=0.02)
    assert (soft.std((1, 2, 3, 4)) < clips.std((1, 2, 3, 4))).all()


def test_sway_moves_points_a_little_and_differently_across_the_frame(points):
    shift = effects.sway(points, RATE_HZ, generator()) - points
    assert 0 < shift.abs().max() < 0.5
    assert shift[0].std() > 0.1 * shift[0].abs().max()


def test_a_foreground_covers_a_part_and_leaves_the_rest_alone(clips, points):
    textures = torch.ones(3, 3, 32, 32)
    covered = effects.add_foreground(
        torch.zeros_like(clips), points, textures, RATE_HZ, generator()
    )
    assert covered.max() > 0.9
    assert (covered < 0.01).float().mean() > 0.2
