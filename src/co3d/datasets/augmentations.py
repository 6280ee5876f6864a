"""Random changes of colour and shape, drawn once for all frames of a clip.

Clips are (T, 3, H, W) with values from 0 to 255. RandAugment is Cubuk et al., arXiv:1909.13719; the
ranges are those of its reference for a magnitude of 10.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
FULL_MAGNITUDE = 10.0
GREY = 128.0


def jitter_colours(clip: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Change brightness, contrast and saturation by up to these shares, in random order."""
    clip = clip.float()
    changes = ((brighten, brightness), (change_contrast, contrast), (saturate, saturation))
    for index in torch.randperm(len(changes)).tolist():
        change, share = changes[index]
        if share:
            clip = change(clip, 1 + share * _draw_sign_and_size())
    return clip


def rand_augment(clip: Tensor, operations: int, magnitude: float) -> Tensor:
    """Apply some operations, each drawn from `OPERATIONS`, at a magnitude of 0 to 10."""
    clip = clip.float()
    strength = magnitude / FULL_MAGNITUDE
    for index in torch.randint(len(OPERATIONS), (operations,)).tolist():
        clip = OPERATIONS[index](clip, strength)
    return clip


def brighten(clip: Tensor, factor: float) -> Tensor:
    """Blend with black."""
    return (clip * factor).clamp_(0, 255)


def change_contrast(clip: Tensor, factor: float) -> Tensor:
    """Blend with the mean grey of the whole clip."""
    return _blend(clip, _grey(clip).mean(), factor)


def saturate(clip: Tensor, factor: float) -> Tensor:
    """Blend with the grey picture."""
    return _blend(clip, _grey(clip), factor)


def sharpen(clip: Tensor, factor: float) -> Tensor:
    """Blend with a smoothed picture."""
    kernel = clip.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(3, 1, 3, 3)
    smooth = F.conv2d(F.pad(clip, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return _blend(clip, smooth, factor)


def stretch_contrast(clip: Tensor, _strength: float) -> Tensor:
    """Stretch each channel of the clip to the full range."""
    low = clip.amin((0, 2, 3), keepdim=True)
    high = clip.amax((0, 2, 3), keepdim=True)
    stretched = (clip - low) * (255 / (high - low).clamp(min=1))
    return torch.where(high > low, stretched, clip)


def equalise(clip: Tensor, _strength: float) -> Tensor:
    """Make the values of each channel of the clip equally frequent."""
    out = torch.empty_like(clip)
    for channel in range(3):
        values = clip[:, channel].round().clamp(0, 255).long()
        counts = torch.bincount(values.flatten(), minlength=256)
        below = counts.cumsum(0) - counts
        span = max(int(values.numel() - counts[values.max()]), 1)
        out[:, channel] = (below.float() * (255 / span)).clamp(max=255)[values]
    return out


def posterise(clip: Tensor, strength: float) -> Tensor:
    """Keep 8 to 4 bits of each value."""
    step = 2 ** round(4 * strength)
    return (clip / step).floor() * step


def solarise(clip: Tensor, strength: float) -> Tensor:
    """Invert the values above a threshold, which falls as the strength grows."""
    return torch.where(clip >= 256 * (1 - strength), 255 - clip, clip)


def warp(clip: Tensor, matrix: list[list[float]]) -> Tensor:
    """Move the picture: each place (x, y, 1), in half frames from its centre, shows what
    was at `matrix` times that place; grey beyond the edges.
    """
    height, width = clip.shape[-2:]
    (a, b, c), (d, e, f) = matrix
    ratio = height / width  # keeps rotations undistorted in frames that are not square
    theta = clip.new_tensor([[a, b * ratio, c], [d / ratio, e, f]]).expand(len(clip), 2, 3)
    grid = F.affine_grid(theta, list(clip.shape), align_corners=False)
    return F.grid_sample(clip - GREY, grid, align_corners=False) + GREY


def _enhance(change: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
    return lambda clip, strength: change(clip, 1 + 0.9 * strength * _draw_sign())


def _rotate(clip: Tensor, strength: float) -> Tensor:
    angle = math.radians(30) * strength * _draw_sign()
    cos, sin = math.cos(angle), math.sin(angle)
    return warp(clip, [[cos, -sin, 0], [sin, cos, 0]])


def _shear_x(clip: Tensor, strength: float) -> Tensor:
    return warp(clip, [[1, 0.3 * strength * _draw_sign(), 0], [0, 1, 0]])


def _shear_y(clip: Tensor, strength: float) -> Tensor:
    return warp(clip, [[1, 0, 0], [0.3 * strength * _draw_sign(), 1, 0]])


def _move_x(clip: Tensor, strength: float) -> Tensor:
    return warp(clip, [[1, 0, 0.9 * strength * _draw_sign()], [0, 1, 0]])


def _move_y(clip: Tensor, strength: float) -> Tensor:
    return warp(clip, [[1, 0, 0], [0, 1, 0.9 * strength * _draw_sign()]])


OPERATIONS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    stretch_contrast,
    equalise,
    posterise,
    solarise,
    _enhance(brighten),
    _enhance(change_contrast),
    _enhance(saturate),
    _enhance(sharpen),
    _rotate,
    _shear_x,
    _shear_y,
    _move_x,
    _move_y,
)


def _blend(clip: Tensor, other: Tensor, factor: float) -> Tensor:
    return torch.lerp(other, clip, factor).clamp_(0, 255)


def _grey(clip: Tensor) -> Tensor:
    red, green, blue = clip.split(1, 1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def _draw_sign() -> float:
    return 1.0 if float(torch.rand(())) < 0.5 else -1.0


def _draw_sign_and_size() -> float:
    return 2 * float(torch.rand(())) - 1
