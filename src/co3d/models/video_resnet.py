"""R3D and MC3, and their common base with R(2+1)D (Tran et al. 2018, arXiv:1711.11248).

ResNets with two convolutions per block; those here have 18 layers. R3D convolves 3×3×3 throughout
and halves time and space three times; MC3 has temporal kernels in its first stage only, and never
halves time.
"""

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.registry import register_model
from co3d.models.residual import initialise, make_shortcut
from co3d.weights.catalogue import find_weights

STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = (2, 2, 2, 2)
SPATIAL_STRIDE = 16


class VideoResNet(ClipModel):
    """A ResNet of two convolutions a block: clip (N, 3, T, H, W), T >= 1 -> logits (N, K).

    The features are averaged over all of space and time, whatever the size of the frames.

    Args:
        stem: makes 64 channels.
        make_blocks: for each stage, what builds a block of (in_channels, channels, stride).
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training; the
            published training of torchvision's networks drops none.
        blocks_per_stage: as many as a ResNet of 18 layers has, by default.

    Raises:
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(
        self,
        stem: nn.Module,
        make_blocks: Iterable["MakeBlock"],
        num_classes: int,
        dropout: float,
        blocks_per_stage: Iterable[int] = BLOCKS_PER_STAGE,
    ) -> None:
        super().__init__()
        self.stem = stem
        stages = []
        in_channels = STEM_CHANNELS
        shapes = zip(STAGE_CHANNELS, make_blocks, blocks_per_stage, strict=True)
        for index, (channels, make_block, count) in enumerate(shapes):
            blocks = []
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(make_block(in_channels, channels, stride))
                in_channels = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_channels, num_classes)
        # Unlike the bottleneck networks, these are published without zero-initialised branches.
        initialise(self, branch_ends=())

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        features = self.stages(self.stem(clip)).mean((3, 4)).mean(2)
        return self.classifier(self.dropout(features))


class BasicBlock(nn.Module):
    """Residual block of two convolutions; the first carries the stride.

    Args:
        conv1, conv2: the convolutions.
        channels: of both outputs.
        shortcut: brings the block's input to the shape of its output.
    """

    def __init__(
        self, conv1: nn.Module, conv2: nn.Module, channels: int, shortcut: nn.Module
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv2 = conv2
        self.norm2 = nn.BatchNorm3d(channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, ...), divided by the strides and rounded up."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(self.shortcut(x) + y)


MakeBlock = Callable[[int, int, int], BasicBlock]


class Stem(nn.Module):
    """A convolution, norm and ReLU, and where there is one a pool.

    Args:
        conv: makes 64 channels. pool: after the ReLU; None for no pool.
    """

    def __init__(self, conv: nn.Module, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm3d(STEM_CHANNELS)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, 64, ...), divided by the strides and rounded up."""
        y = F.relu(self.norm(self.conv(x)))
        return y if self.pool is None else self.pool(y)


def _make_dense_block(in_channels: int, channels: int, stride: int) -> BasicBlock:
    """Two 3×3×3 convolutions; the stride is of space and time."""
    return BasicBlock(
        nn.Conv3d(in_channels, channels, 3, stride, 1, bias=False),
        nn.Conv3d(channels, channels, 3, 1, 1, bias=False),
        channels,
        make_shortcut(in_channels, channels, (stride, stride, stride)),
    )


def _make_planar_block(in_channels: int, channels: int, stride: int) -> BasicBlock:
    """Two 1×3×3 convolutions; the stride is of space."""
    kernel, padding, stride_3d = (1, 3, 3), (0, 1, 1), (1, stride, stride)
    return BasicBlock(
        nn.Conv3d(in_channels, channels, kernel, stride_3d, padding, bias=False),
        nn.Conv3d(channels, channels, kernel, 1, padding, bias=False),
        channels,
        make_shortcut(in_channels, channels, stride_3d),
    )


def _make_dense_stem() -> Stem:
    return Stem(nn.Conv3d(3, STEM_CHANNELS, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False))


def make_card(name: str, summary: str) -> ModelCard:
    """The card of a network that torchvision publishes: all are trained and fed alike."""
    published = find_weights(name, "kinetics400")
    return ModelCard(
        name=name,
        clip_frames=16,
        rate_hz=15,
        crop_px=112,
        short_side_px=128,
        resize_px=(128, 171),
        antialias=False,
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
        summary=summary,
        paper=(
            "A Closer Look at Spatiotemporal Convolutions for Action Recognition, arXiv:1711.11248"
        ),
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="classifier",
    )


@register_model(make_card("r3d_18", "R3D-18: a ResNet of 3x3x3 convolutions"))
def r3d_18(num_classes: int = 400, dropout: float = 0.0) -> VideoResNet:
    """R3D-18: 16 frames of 112 px."""
    return VideoResNet(_make_dense_stem(), 4 * [_make_dense_block], num_classes, dropout)


@register_model(make_card("mc3_18", "MC3-18: 3x3x3 convolutions first, then spatial ones"))
def mc3_18(num_classes: int = 400, dropout: float = 0.0) -> VideoResNet:
    """MC3-18: 16 frames of 112 px."""
    blocks = [_make_dense_block, *3 * [_make_planar_block]]
    return VideoResNet(_make_dense_stem(), blocks, num_classes, dropout)
