"""The model card: everything needed to feed a network, stored with the network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from co3d.errors import InputShapeError, OptionError
from co3d.pictures import check_picture
from co3d.printable import make_printable, short_repr

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of red, green and blue in ImageNet's pictures, for pixels scaled to [0, 1]."""

IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelCard:
    """How a network was trained, and so how it must be fed.

    A user's own network carries one as its attribute `card` (docs/own_network.md).

    Attributes:
        name: shown in titles; the registry name (lower snake case) of registered networks.
        clip_frames: frames per training clip.
        rate_hz: frames per second at which those frames were sampled.
        crop_px: side of the network's square input.
        short_side_px: a frame is scaled to this short side before the centre crop.
        mean, std: per channel (RGB), for pixels scaled to [0, 1].
        resize_px: (height, width) that a frame is scaled to instead, regardless of aspect ratio.
        antialias: whether that scaling is antialiased.
        labels: class names, index 0 first; empty while the weights are random or their classes
            unknown.
        activation: what turns logits into probabilities.
        summary: one line for a list of models.
        paper: title and arXiv id.
        licence: of the weights.
        published_accuracy: name of a measure -> published value in percent.
        classifier: path of the last linear layer in the network, the one that `num_classes` sizes.
        bundled_weights: file in the package's `assets` folder that holds the default weights.

    Raises:
        OptionError: a value of another type or out of range, naming the attribute.
    """

    name: str
    clip_frames: int
    rate_hz: float
    crop_px: int
    short_side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_px: tuple[int, int] | None = None
    antialias: bool = True
    labels: tuple[str, ...] = ()
    activation: Literal["softmax", "sigmoid"] = "softmax"
    summary: str = ""
    paper: str = ""
    licence: str = ""
    published_accuracy: Mapping[str, float] = field(default_factory=dict, hash=False)
    classifier: str = "classifier"
    bundled_weights: str = ""

    def __post_init__(self) -> None:
        """Check every value, because cards are written by users and read from foreign files."""
        for name in ("clip_frames", "crop_px", "short_side_px"):
            if not _is_count(getattr(self, name)):
                self._refuse(name, "a whole number of at least 1")
        if not _is_number(self.rate_hz) or self.rate_hz <= 0:
            self._refuse("rate_hz", "frames per second above 0, such as 8.0")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not _is_sequence(values, 3) or not all(map(_is_number, values)):
                self._refuse(name, "three numbers, of red, green and blue, such as (0.45,) * 3")
            object.__setattr__(self, name, tuple(map(float, values)))
        if min(self.std) <= 0:
            self._refuse("std", "three numbers above 0")
        if self.resize_px is not None:
            if not _is_sequence(self.resize_px, 2) or not all(map(_is_count, self.resize_px)):
                self._refuse("resize_px", "(height, width) in whole pixels, or None")
            object.__setattr__(self, "resize_px", tuple(self.resize_px))
        if min(self.resize_px or (self.short_side_px,)) < self.crop_px:
            scaled = "short_side_px" if self.resize_px is None else "resize_px"
            self._refuse(scaled, f"at least crop_px, {self.crop_px}, which the network sees of it")
        is_word = isinstance(self.activation, str)
        if not is_word or self.activation not in ("softmax", "sigmoid"):
            self._refuse("activation", "'softmax' or 'sigmoid'")
        if not _is_sequence(self.labels) or not all(isinstance(x, str) for x in self.labels):
            self._refuse("labels", "the names of the classes, a list of str, index 0 first")
        # Labels are shown in terminals.
        object.__setattr__(self, "labels", tuple(map(make_printable, self.labels)))

    def _refuse(self, name: str, expected: str) -> NoReturn:
        got = short_repr(getattr(self, name))
        raise OptionError(
            f"cannot describe a network: its card's {name} is {got}, expected {expected}"
        )

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Shape (C, T, H, W) of one training clip."""
        return (3, self.clip_frames, self.crop_px, self.crop_px)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """Turn one picture into the network's input frame.

        Args:
            image: (H, W, 3) uint8, RGB, any size.

        Returns:
            (1, 3, crop_px, crop_px) float32: scaled (bilinear) to `short_side_px` or `resize_px`,
            centre-cropped, normalised.

        Raises:
            InputShapeError: the array is not an RGB picture of 8 bits per channel.
        """
        size = self.find_scaled_size(image)
        frame = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        if not self.antialias:
            frame = frame.float()  # as in torchvision; in uint8 the result may differ by one
        frame = F.interpolate(frame, size=size, mode="bilinear", antialias=self.antialias)
        top, left = (size[0] - self.crop_px) // 2, (size[1] - self.crop_px) // 2
        frame = frame[:, :, top : top + self.crop_px, left : left + self.crop_px]
        return self.normalise(frame.float().round())

    def find_scaled_size(self, image: np.ndarray) -> tuple[int, int]:
        """The (height, width) that a picture is scaled to before the centre crop.

        Raises:
            InputShapeError: the array is not an RGB picture of 8 bits per channel.
        """
        check_picture(image, "preprocess this image")
        if self.resize_px is not None:
            return self.resize_px
        height, width = image.shape[:2]
        scale = self.short_side_px / min(height, width)
        return round(height * scale), round(width * scale)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W), float32 from 0 to 255, normalised for the network."""
        mean = torch.tensor(self.mean).view(1, 3, 1, 1)
        std = torch.tensor(self.std).view(1, 3, 1, 1)
        return (pixels / 255 - mean) / std

    def probabilities(self, logits: Tensor) -> Tensor:
        """Apply the head's activation to logits (..., K).

        Raises:
            InputShapeError: they are not a floating-point tensor of at least one dimension.
        """
        is_dense = isinstance(logits, Tensor) and logits.layout == torch.strided
        if not is_dense or not logits.is_floating_point() or not logits.ndim:
            raise InputShapeError(
                f"cannot apply {self.activation}: got {short_repr(logits)}, expected logits "
                "(..., K), a floating-point tensor; pass StepResult.output"
            )
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)


def find_card(network: object) -> ModelCard | None:
    """The card that a network carries as its attribute `card`; None without one."""
    card = getattr(network, "card", None)
    return card if isinstance(card, ModelCard) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _is_sequence(values: Any, length: int | None = None) -> bool:
    return isinstance(values, tuple | list) and length in (None, len(values))
