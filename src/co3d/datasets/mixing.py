"""MixUp (arXiv:1710.09412) and CutMix (arXiv:1905.04899) of the clips in a batch."""

import math

import torch
from torch import Tensor

from co3d.errors import OptionError


def mix_up(clips: Tensor, targets: Tensor, alpha: float = 0.8) -> tuple[Tensor, Tensor]:
    """Blend each clip with the one at the other end of the batch.

    Args:
        clips: (N, C, T, H, W) float.
        targets: (N, K) float, shares of the classes (one-hot, say).
        alpha: of the beta distribution that the share is drawn from.

    Returns:
        Clips and targets of the same shapes.

    Raises:
        OptionError: `alpha` is not above zero, or the targets are class indices.
    """
    share = _draw_share(alpha, targets)
    return clips.lerp(clips.flip(0), 1 - share), targets.lerp(targets.flip(0), 1 - share)


def cut_mix(clips: Tensor, targets: Tensor, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Put a box, the same in all frames, of the clip at the other end of the batch into each clip.

    Arguments, results and errors are those of `mix_up`. Targets are weighted by the area that the
    box really covers.
    """
    share = _draw_share(alpha, targets)
    height, width = clips.shape[-2:]
    side = math.sqrt(1 - share)
    top, bottom = _draw_interval(height, side)
    left, right = _draw_interval(width, side)
    mixed = clips.clone()
    mixed[..., top:bottom, left:right] = clips.flip(0)[..., top:bottom, left:right]
    covered = (bottom - top) * (right - left) / (height * width)
    return mixed, targets.lerp(targets.flip(0), covered)


def _draw_share(alpha: float, targets: Tensor) -> float:
    if not alpha > 0:
        raise OptionError(f"cannot mix clips with alpha {alpha}: choose a number above 0")
    if targets.ndim != 2 or not targets.is_floating_point():
        raise OptionError(
            f"cannot mix targets: got shape {tuple(targets.shape)} of {targets.dtype}, expected "
            "(N, K) of float; make them one-hot"
        )
    return float(torch.distributions.Beta(alpha, alpha).sample())


def _draw_interval(length: int, share: float) -> tuple[int, int]:
    """An interval around a random place, cut at the edges."""
    centre = int(torch.randint(length, ()))
    half = round(length * share / 2)
    return max(centre - half, 0), min(centre + half, length)
