"""The model card: everything a user must know to feed a network, kept beside the network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from co3d.errors import InputShapeError
from co3d.printable import make_printable


@dataclass(frozen=True)
class ModelCard:
    """How a network was trained, and so how it must be fed.

    Attributes:
        name: registry name, lower snake case.
        clip_frames: frames per training clip.
        rate_hz: frames per second at which those frames were sampled.
        crop_px: side of the square that the network sees.
        short_side_px: a frame is scaled to this short side before the centre crop.
        mean, std: per channel (RGB), for pixels scaled to [0, 1].
        resize_px: (height, width) that a frame is scaled to instead, whatever its shape.
        antialias: whether that scaling averages the pixels that it drops.
        labels: class names, index 0 first; empty while the weights are random or their classes
            unknown.
        activation: what turns logits into probabilities.
        summary: one line for a list of models.
        paper: title and arXiv id.
        licence: of the weights.
        published_accuracy: name of a measure -> published value in percent.
        classifier: path of the last linear layer in the network, the one that `num_classes` sizes.
        bundled_weights: file in the package's `assets` folder that holds the default weights.
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
        """Labels may come from anybody's file, and are shown in terminals."""
        object.__setattr__(self, "labels", tuple(map(make_printable, self.labels)))

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """Shape (C, T, H, W) of one training clip."""
        return (3, self.clip_frames, self.crop_px, self.crop_px)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """Turn one picture into the frame that the network expects.

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
            frame = frame.float()  # as torchvision does: in eight bits the result differs by one
        frame = F.interpolate(frame, size=size, mode="bilinear", antialias=self.antialias)
        top, left = (size[0] - self.crop_px) // 2, (size[1] - self.crop_px) // 2
        frame = frame[:, :, top : top + self.crop_px, left : left + self.crop_px]
        return self.normalise(frame.float().round())

    def find_scaled_size(self, image: np.ndarray) -> tuple[int, int]:
        """The (height, width) that a picture is scaled to before the centre crop.

        Raises:
            InputShapeError: the array is not an RGB picture of 8 bits per channel.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise InputShapeError(
                f"cannot preprocess this image: got shape {tuple(image.shape)} of {image.dtype}, "
                "expected (H, W, 3) of uint8 in RGB order; convert it first"
            )
        if self.resize_px is not None:
            return self.resize_px
        height, width = image.shape[:2]
        scale = self.short_side_px / min(height, width)
        return round(height * scale), round(width * scale)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W), float32 from 0 to 255, as the network expects them."""
        mean = torch.tensor(self.mean).view(1, 3, 1, 1)
        std = torch.tensor(self.std).view(1, 3, 1, 1)
        return (pixels / 255 - mean) / std

    def probabilities(self, logits: Tensor) -> Tensor:
        """Apply the head's activation to logits (..., K)."""
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(-1)
