"""R(2+1)D, 3-D convolutions factorised in space and time (Tran et al. 2018, arXiv:1711.11248).

Each 3×3×3 convolution is a spatial one, a norm, a ReLU and a temporal one, with as many channels
between them as give the two the parameters of the one. Time is halved with space, thrice.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.registry import register_model
from co3d.models.residual import Shortcut, initialise
from co3d.weights.catalogue import find_weights

STEM_CHANNELS, STEM_INNER = 64, 45
STAGE_CHANNELS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2
SPATIAL_STRIDE = 16

_PUBLISHED = find_weights("r2plus1d_18", "kinetics400")

R2PLUS1D_18_CARD = ModelCard(
    name="r2plus1d_18",
    clip_frames=16,
    rate_hz=15,
    crop_px=112,
    short_side_px=128,
    resize_px=(128, 171),
    antialias=False,
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
    summary="R(2+1)D-18: a ResNet whose convolutions are spatial, then temporal",
    paper=("A Closer Look at Spatiotemporal Convolutions for Action Recognition, arXiv:1711.11248"),
    licence=_PUBLISHED.licence,
    published_accuracy=_PUBLISHED.accuracy,
    classifier="classifier",
)


class R2Plus1D(ClipModel):
    """R(2+1)D-18: clip (N, 3, T, H, W), any T >= 1, H and W >= 16 -> logits (N, K).

    The features are averaged over all of space and time, whatever the size of the frames.

    Args:
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training; the
            published training drops none.

    Raises:
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(self, num_classes: int = 400, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = Stem()
        stages = []
        in_channels = STEM_CHANNELS
        for index, channels in enumerate(STAGE_CHANNELS):
            blocks = []
            for block in range(BLOCKS_PER_STAGE):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(BasicBlock(in_channels, channels, stride))
                in_channels = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_channels, num_classes)
        # Unlike the bottleneck networks, this one is published with branches that start alive.
        initialise(self, branch_ends=())

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        features = self.stages(self.stem(clip)).mean((3, 4)).mean(2)
        return self.classifier(self.dropout(features))


class FactorisedConv(nn.Module):
    """Spatial convolution, norm, ReLU, temporal convolution; both carry the stride."""

    def __init__(
        self,
        in_channels: int,
        inner: int,
        channels: int,
        kernel_s: int,
        stride_s: int,
        stride_t: int,
    ) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(
            in_channels,
            inner,
            (1, kernel_s, kernel_s),
            (1, stride_s, stride_s),
            (0, kernel_s // 2, kernel_s // 2),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(inner)
        self.temporal = nn.Conv3d(
            inner, channels, (3, 1, 1), (stride_t, 1, 1), (1, 0, 0), bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, ...), divided by the strides and rounded up."""
        return self.temporal(F.relu(self.norm(self.spatial(x))))


class Stem(nn.Module):
    """Factorised 3×7×7 convolution; halves height and width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = FactorisedConv(3, STEM_INNER, STEM_CHANNELS, 7, stride_s=2, stride_t=1)
        self.norm = nn.BatchNorm3d(STEM_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, 64, T, H/2, W/2), rounded up."""
        return F.relu(self.norm(self.conv(x)))


class BasicBlock(nn.Module):
    """Residual block of two factorised convolutions; the first carries the stride."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        # Both convolutions of a block have the inner width that fits the first of them.
        inner = in_channels * channels * 27 // (in_channels * 9 + 3 * channels)
        self.conv1 = FactorisedConv(in_channels, inner, channels, 3, stride, stride)
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv2 = FactorisedConv(channels, inner, channels, 3, 1, 1)
        self.norm2 = nn.BatchNorm3d(channels)
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else Shortcut(in_channels, channels, (stride, stride, stride))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T/stride, H/stride, W/stride), rounded up."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(self.shortcut(x) + y)


@register_model(R2PLUS1D_18_CARD)
def r2plus1d_18(num_classes: int = 400, dropout: float = 0.0) -> R2Plus1D:
    """R(2+1)D-18: 16 frames of 112 px."""
    return R2Plus1D(num_classes, dropout)
