"""R(2+1)D R50, the form with bottlenecks that PyTorchVideo publishes (arXiv:1711.11248).

In each bottleneck a temporal convolution precedes the spatial one, with a norm and a ReLU between.
The stem is spatial and does not pool; space is halved in every stage, time in the last two.
"""

import dataclasses
import math

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.clip_model import ClipModel
from co3d.models.head import SlidingHead
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.models.resnet3d import (
    CROP_PX,
    EXPANSION,
    SPATIAL_STRIDE,
    Bottleneck,
    branch_ends,
    count_blocks,
    make_card,
)
from co3d.models.video_resnet import STEM_CHANNELS, Stem

DEPTHS = (50, 101, 152)
STAGE_STRIDES_T = (1, 1, 2, 2)


class BottleneckR2Plus1D(ClipModel):
    """R(2+1)D of bottlenecks: clip (N, 3, T, H, W), any T >= 1, H and W >= 32 -> logits (N, K).

    Frames larger than the training crop leave a grid of positions in the head; the output is then
    the logarithm of their mean probability.

    Args:
        depth: 50, 101 or 152 layers. num_classes, dropout: as for `Slow`, with its errors.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(self, depth: int = 50, num_classes: int = 400, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = Stem(nn.Conv3d(3, STEM_CHANNELS, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False))
        stages = []
        in_channels = STEM_CHANNELS
        shapes = zip(count_blocks(depth, DEPTHS), STAGE_STRIDES_T, strict=True)
        for index, (count, stride_t) in enumerate(shapes):
            inner = STEM_CHANNELS * 2**index
            first = TemporalBottleneck(in_channels, inner, stride_t, 2)
            in_channels = inner * EXPANSION
            others = (TemporalBottleneck(in_channels, inner, 1, 1) for _ in range(count - 1))
            stages.append(nn.Sequential(first, *others))
        self.stages = nn.Sequential(*stages)
        pool_side = math.ceil(CROP_PX / SPATIAL_STRIDE)
        self.head = SlidingHead(in_channels, pool_side, num_classes, dropout, "probabilities")
        initialise(self, branch_ends(self))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        return self.head(self.stages(self.stem(clip)))


class TemporalBottleneck(Bottleneck):
    """Residual block: reduce, convolve 3 in time, convolve 3×3 in space, expand fourfold.

    Args:
        in_channels: of the input. inner: channels of the convolutions.
        stride_t: of the temporal convolution. stride: of the spatial one.
    """

    def __init__(self, in_channels: int, inner: int, stride_t: int, stride: int) -> None:
        super().__init__(in_channels, inner, 1, stride, stride_t)
        self.temporal = nn.Conv3d(inner, inner, (3, 1, 1), (stride_t, 1, 1), (1, 0, 0), bias=False)
        self.temporal_norm = nn.BatchNorm3d(inner)

    def reduce_channels(self, x: Tensor) -> Tensor:
        """The input of the spatial convolution, after the temporal one."""
        return F.relu(self.temporal_norm(self.temporal(super().reduce_channels(x))))


_CARD = make_card(
    "r2plus1d_r50",
    "R(2+1)D R50 16x4: bottlenecks that convolve in time, then in space",
    "A Closer Look at Spatiotemporal Convolutions for Action Recognition, arXiv:1711.11248",
)


@register_model(dataclasses.replace(_CARD, clip_frames=16, rate_hz=30 / 4))
def r2plus1d_r50(
    num_classes: int = 400, dropout: float = 0.5, depth: int = 50
) -> BottleneckR2Plus1D:
    """R(2+1)D R50 16×4: 16 frames, every fourth of 30 a second; other depths by parameter."""
    return BottleneckR2Plus1D(depth, num_classes, dropout)
