"""Turn the pictures of a clip into a network's input, with the same transform for all frames.

A transform takes (T, H, W, 3) uint8 RGB and a spatial view, and gives (3, T, side, side) float32.
Randomness comes from torch's generator, which DataLoader workers seed individually.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from co3d.datasets.augmentations import jitter_colours, rand_augment
from co3d.errors import InputShapeError, OptionError
from co3d.models.card import ModelCard


class ClipTransform(Protocol):
    """What turns the pictures of a clip into a network's input."""

    def __call__(self, frames: np.ndarray, crop: int | None = None) -> Tensor:
        """Transform a clip.

        Args:
            frames: (T, H, W, 3) uint8 RGB.
            crop: which of three squares along the longer side, 0 to 2; None takes the network's
                own.

        Returns:
            (3, T, side, side) float32.
        """
        ...


@dataclass(frozen=True)
class TestTransform:
    """Apply to whole clips what `card.preprocess` applies to each frame.

    The three crops are those of PySlowFast's tests: squares as large as the scaled frame's short
    side, at the start, the middle and the end of the longer side.
    """

    __test__ = False  # pytest must not collect it as a test class

    card: ModelCard

    def __call__(self, frames: np.ndarray, crop: int | None = None) -> Tensor:
        """Scale, crop and normalise; see `ClipTransform`."""
        card = self.card
        clip = to_channels_first(frames)
        scaled = scale(clip, card.resize_px or _short_side(clip, card.short_side_px), card)
        side = card.crop_px if crop is None else min(scaled.shape[-2:])
        top, left = place_crop(scaled.shape[-2], scaled.shape[-1], side, crop)
        return normalise(scaled[..., top : top + side, left : left + side], card)


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, crop, flip and colours.

    Attributes:
        card: of the network.
        short_sides_px: the short side is drawn from this range; None takes the card's short side
            up to 1.25 times that, as 256 to 320 for crops of 224.
        flip_probability: of mirroring left and right. 0 for classes that tell them apart.
        brightness, contrast, saturation: the largest change of each, as a share.
        operations, magnitude: of RandAugment (arXiv:1909.13719): how many, and how strong, 0 to 10.

    Raises:
        OptionError: a value is invalid.
    """

    card: ModelCard
    short_sides_px: tuple[int, int] | None = None
    flip_probability: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    operations: int = 0
    magnitude: float = 7.0

    def __post_init__(self) -> None:
        low, high = self._range()
        if not self.card.crop_px <= low <= high:
            raise OptionError(
                f"cannot crop {self.card.crop_px} pixels from short sides of {low} to {high}: "
                "choose a rising range from the crop's size on"
            )
        shares = (self.brightness, self.contrast, self.saturation)
        if not 0 <= self.flip_probability <= 1 or not all(0 <= share <= 1 for share in shares):
            raise OptionError("cannot augment: probabilities and shares lie between 0 and 1")
        if self.operations < 0 or not 0 <= self.magnitude <= 10:
            raise OptionError(
                f"cannot apply {self.operations} operations of magnitude {self.magnitude}: "
                "choose 0 or more, and 0 to 10"
            )

    def __call__(self, frames: np.ndarray, crop: int | None = None) -> Tensor:  # noqa: ARG002
        """Draw and apply; see `ClipTransform`. The crop's place is random; `crop` is ignored."""
        low, high = self._range()
        clip = to_channels_first(frames)
        clip = scale(clip, _short_side(clip, _draw_integer(low, high)), self.card)
        side = self.card.crop_px
        top = _draw_integer(0, clip.shape[-2] - side)
        left = _draw_integer(0, clip.shape[-1] - side)
        clip = clip[..., top : top + side, left : left + side]
        if float(torch.rand(())) < self.flip_probability:
            clip = clip.flip(-1)
        if self.brightness or self.contrast or self.saturation:
            clip = jitter_colours(clip, self.brightness, self.contrast, self.saturation)
        if self.operations:
            clip = rand_augment(clip, self.operations, self.magnitude)
        return normalise(clip, self.card)

    def _range(self) -> tuple[int, int]:
        short = self.card.short_side_px
        return self.short_sides_px or (short, round(1.25 * short))


def to_channels_first(frames: np.ndarray) -> Tensor:
    """Frames (T, H, W, 3) uint8 -> (T, 3, H, W) uint8, without a copy where possible.

    Raises:
        InputShapeError: the array is not a clip of RGB pictures of 8 bits per channel.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise InputShapeError(
            f"cannot transform this clip: got shape {frames.shape} of {frames.dtype}, expected "
            "(T, H, W, 3) of uint8 in RGB order; convert it first"
        )
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)


def scale(clip: Tensor, size: Sequence[int], card: ModelCard) -> Tensor:
    """Scale (T, 3, H, W) uint8 to a size (height, width), as the card's `preprocess` does."""
    if not card.antialias:
        clip = clip.float()
    return F.interpolate(clip, size=list(size), mode="bilinear", antialias=card.antialias)


def place_crop(height: int, width: int, side: int, crop: int | None) -> tuple[int, int]:
    """Top and left of a square: the centre, or one of three along the longer side."""
    if crop is None:
        return (height - side) // 2, (width - side) // 2
    along = (0, math.ceil((max(height, width) - side) / 2), max(height, width) - side)[crop]
    across = math.ceil((min(height, width) - side) / 2)
    return (along, across) if height > width else (across, along)


def normalise(clip: Tensor, card: ModelCard) -> Tensor:
    """Pixels (T, 3, H, W) of 0 to 255 -> the network's input (3, T, H, W) float32."""
    mean = torch.tensor(card.mean).view(1, 3, 1, 1)
    std = torch.tensor(card.std).view(1, 3, 1, 1)
    return ((clip.float().round() / 255 - mean) / std).transpose(0, 1).contiguous()


def _short_side(clip: Tensor, short_side_px: int) -> tuple[int, int]:
    height, width = clip.shape[-2:]
    factor = short_side_px / min(height, width)
    return round(height * factor), round(width * factor)


def _draw_integer(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))
