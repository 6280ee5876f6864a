"""S3D, an Inception whose 3-D convolutions are factorised (Xie et al. 2018, arXiv:1712.04851).

Kernels are spatial, then temporal, each with its own norm and ReLU. Time is halved by the stem and
by the pools before the second and the third stage of Inception blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.head import join_positions
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.weights.catalogue import find_weights

CROP_PX = 224
SPATIAL_STRIDE = 32
POOL_FRAMES, POOL_SIDE = 2, 7
NORM_EPS, NORM_MOMENTUM = 1e-3, 1e-3

# Channels of an Inception block: out of its pointwise branch, in and out of its two branches of
# 3×3×3 kernels, out of its pooled branch.
Widths = tuple[int, int, int, int, int, int]
STAGE_WIDTHS: tuple[tuple[Widths, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)

_PUBLISHED = find_weights("s3d", "kinetics400")

S3D_CARD = ModelCard(
    name="s3d",
    clip_frames=128,
    rate_hz=15,
    crop_px=CROP_PX,
    short_side_px=256,
    resize_px=(256, 256),
    antialias=False,
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
    summary="S3D: an Inception whose kernels are spatial, then temporal",
    paper="Rethinking Spatiotemporal Feature Learning, arXiv:1712.04851",
    licence=_PUBLISHED.licence,
    published_accuracy=_PUBLISHED.accuracy,
    classifier="classifier",
)


class S3D(ClipModel):
    """S3D: clip (N, 3, T, H, W), any T >= 5, H and W >= 32 -> logits (N, K).

    The last pool averages windows of two time steps and 7×7 pixels (or all of a smaller map), and
    the logits of all positions are averaged, as torchvision does.

    Args:
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.

    Raises:
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE
    min_frames = 5

    def __init__(self, num_classes: int = 400, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = Stem()
        pools = (
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            nn.MaxPool3d(3, 2, 1),
            nn.MaxPool3d(2, 2),
        )
        stages = []
        in_channels = Stem.channels
        for pool, widths in zip(pools, STAGE_WIDTHS, strict=True):
            blocks = []
            for width in widths:
                blocks.append(Inception(in_channels, width))
                in_channels = blocks[-1].channels
            stages.append(nn.Sequential(pool, *blocks))
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_channels, num_classes)
        initialise(self, branch_ends=())

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        x = self.stages(self.stem(clip))
        window = [
            min(*pair)
            for pair in zip((POOL_FRAMES, POOL_SIDE, POOL_SIDE), x.shape[2:], strict=True)
        ]
        pooled = F.avg_pool3d(x, window, stride=1).mean(2, keepdim=True)
        return join_positions(self.dropout(pooled), self.classifier, "logits")


class ConvNorm(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: tuple[int, int, int] = (1, 1, 1),
        stride: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(in_channels, channels, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm3d(channels, NORM_EPS, NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, ...), divided by the strides and rounded up."""
        return F.relu(self.norm(self.conv(x)))


class SeparableConv(nn.Sequential):
    """A spatial kernel, then a temporal one of the same size; each strides its own axes."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            ConvNorm(in_channels, channels, (1, kernel, kernel), (1, stride, stride)),
            ConvNorm(channels, channels, (kernel, 1, 1), (stride, 1, 1)),
        )


class Stem(nn.Sequential):
    """Up to the first Inception block: halves time once, height and width twice."""

    channels = 192

    def __init__(self) -> None:
        super().__init__(
            SeparableConv(3, 64, 7, stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            ConvNorm(64, 64),
            SeparableConv(64, self.channels, 3),
        )


class Inception(nn.Module):
    """Four parallel branches: two have temporal kernels, and one pools along time."""

    def __init__(self, in_channels: int, widths: Widths) -> None:
        super().__init__()
        plain, inner1, out1, inner2, out2, pooled = widths
        self.channels = plain + out1 + out2 + pooled
        self.branch0 = ConvNorm(in_channels, plain)
        self.branch1 = nn.Sequential(ConvNorm(in_channels, inner1), SeparableConv(inner1, out1, 3))
        self.branch2 = nn.Sequential(ConvNorm(in_channels, inner2), SeparableConv(inner2, out2, 3))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), ConvNorm(in_channels, pooled))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T, H, W)."""
        return torch.cat((self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)), 1)


@register_model(S3D_CARD)
def s3d(num_classes: int = 400, dropout: float = 0.2) -> S3D:
    """S3D: frames of 224 px."""
    return S3D(num_classes, dropout)
