"""X3D, the expanded family of efficient video networks (Feichtenhofer 2020, arXiv:2004.04730).

Every convolution is spatial (1x3x3), temporal (5x1x1), channelwise (3x3x3 depthwise) or pointwise
(1x1x1), and none has a temporal stride, so a network takes clips of any length. XS, S and M are
one network at three clip lengths and frame sizes; L is deeper.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.gates import SqueezeExcite, round_to_eight
from co3d.models.head import join_positions, pool_positions
from co3d.models.registry import register_model
from co3d.models.residual import initialise, make_shortcut
from co3d.weights.catalogue import find_weights

STEM_CHANNELS = 24
STAGE_CHANNELS = (24, 48, 96, 192)
STAGE_DEPTHS = (1, 2, 5, 3)  # before the depth factor
BOTTLENECK_FACTOR = 2.25
EXCITATION_RATIO = 1 / 16
HIDDEN_CHANNELS = 2048
SPATIAL_STRIDE = 32


class X3D(ClipModel):
    """An X3D network: clip (N, 3, T, H, W), any T >= 1, H and W >= 32 -> logits (N, K).

    Frames larger than `crop_px` leave a grid of positions in the head. Upstream then averages the
    softmax over the grid; the output here is the logarithm of that average, so that its softmax is
    the upstream result for any frame size.

    Args:
        depth_factor: multiplies the blocks per stage, rounded up.
        crop_px: side of the square that the head's spatial pooling spans.
        num_classes: K.
        dropout: probability of dropping a hidden unit before the classifier, in training.

    Raises:
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(
        self, depth_factor: float, crop_px: int, num_classes: int = 400, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.stem = Stem()
        stages = []
        in_channels = STEM_CHANNELS
        for channels, depth in zip(STAGE_CHANNELS, STAGE_DEPTHS, strict=True):
            blocks = []
            for index in range(math.ceil(depth * depth_factor)):
                stride, excite = (2 if index == 0 else 1), index % 2 == 0
                blocks.append(Bottleneck(in_channels, channels, stride, excite))
                in_channels = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = Head(in_channels, math.ceil(crop_px / SPATIAL_STRIDE), num_classes, dropout)
        blocks = (module for module in self.modules() if isinstance(module, Bottleneck))
        initialise(self, (block.project_norm for block in blocks))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        return self.head(self.stages(self.stem(clip)))


class Stem(nn.Module):
    """Spatial then depthwise temporal convolution; halves height and width."""

    def __init__(self) -> None:
        super().__init__()
        channels = STEM_CHANNELS
        self.conv_s = nn.Conv3d(3, channels, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.conv_t = nn.Conv3d(
            channels, channels, (5, 1, 1), padding=(2, 0, 0), groups=channels, bias=False
        )
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, 24, T, H/2, W/2)."""
        return F.relu(self.norm(self.conv_t(self.conv_s(x))))


class Bottleneck(nn.Module):
    """Residual block: expand pointwise, convolve depthwise in space-time, excite, project."""

    def __init__(self, in_channels: int, channels: int, stride: int, excite: bool) -> None:
        super().__init__()
        inner = int(channels * BOTTLENECK_FACTOR)
        self.expand = nn.Conv3d(in_channels, inner, 1, bias=False)
        self.expand_norm = nn.BatchNorm3d(inner)
        self.depthwise = nn.Conv3d(
            inner, inner, 3, (1, stride, stride), padding=1, groups=inner, bias=False
        )
        self.depthwise_norm = nn.BatchNorm3d(inner)
        squeezed = round_to_eight(inner * EXCITATION_RATIO)
        self.excite = SqueezeExcite(inner, squeezed) if excite else nn.Identity()
        self.project = nn.Conv3d(inner, channels, 1, bias=False)
        self.project_norm = nn.BatchNorm3d(channels)
        self.shortcut = make_shortcut(in_channels, channels, (1, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T, H/stride, W/stride)."""
        y = F.relu(self.expand_norm(self.expand(x)))
        y = F.silu(self.excite(self.depthwise_norm(self.depthwise(y))))
        y = self.project_norm(self.project(y))
        return F.relu(self.shortcut(x) + y)


class Head(nn.Module):
    """Expand, average over space and then time, and classify each remaining position."""

    def __init__(self, in_channels: int, pool_side: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        inner = int(in_channels * BOTTLENECK_FACTOR)
        self.pool_side = pool_side
        self.expand = nn.Conv3d(in_channels, inner, 1, bias=False)
        self.expand_norm = nn.BatchNorm3d(inner)
        self.hidden = nn.Conv3d(inner, HIDDEN_CHANNELS, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HIDDEN_CHANNELS, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, h, w) -> (N, K): logits, or for a larger map the log of a mean probability."""
        x = F.relu(self.expand_norm(self.expand(x)))
        x = self.dropout(F.relu(self.hidden(pool_positions(x, self.pool_side))))
        return join_positions(x, self.classifier, "probabilities")


def _card(
    name: str, clip_frames: int, frame_interval: int, crop_px: int, short_side_px: int
) -> ModelCard:
    """A card for clips of every `frame_interval`-th frame of video at 30 frames/s."""
    published = find_weights(name, "kinetics400")
    return ModelCard(
        name=name,
        clip_frames=clip_frames,
        rate_hz=30 / frame_interval,
        crop_px=crop_px,
        short_side_px=short_side_px,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        summary=f"X3D-{name.removeprefix('x3d_').upper()}: mobile-sized action recognition",
        paper="X3D: Expanding Architectures for Efficient Video Recognition, arXiv:2004.04730",
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


@register_model(_card("x3d_xs", 4, 12, 160, 182))
def x3d_xs(num_classes: int = 400, dropout: float = 0.5) -> X3D:
    """X3D-XS: 4 frames of 160 px."""
    return X3D(2.2, 160, num_classes, dropout)


@register_model(_card("x3d_s", 13, 6, 160, 182))
def x3d_s(num_classes: int = 400, dropout: float = 0.5) -> X3D:
    """X3D-S: 13 frames of 160 px."""
    return X3D(2.2, 160, num_classes, dropout)


@register_model(_card("x3d_m", 16, 5, 224, 256))
def x3d_m(num_classes: int = 400, dropout: float = 0.5) -> X3D:
    """X3D-M: 16 frames of 224 px."""
    return X3D(2.2, 224, num_classes, dropout)


@register_model(_card("x3d_l", 16, 5, 312, 356))
def x3d_l(num_classes: int = 400, dropout: float = 0.5) -> X3D:
    """X3D-L: 16 frames of 312 px, 2.3 times the depth."""
    return X3D(5.0, 312, num_classes, dropout)
