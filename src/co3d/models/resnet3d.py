"""The 3-D ResNet used by Slow, I3D and both pathways of SlowFast.

A ResNet (He et al. 2016, arXiv:1512.03385) with spatial convolutions, some of which also have a
temporal kernel: the bottleneck of Feichtenhofer et al. 2019, arXiv:1812.03982, table 1. Only
the stem of one network has a temporal stride.
"""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.errors import OptionError
from co3d.models.card import ModelCard
from co3d.models.residual import make_shortcut
from co3d.weights.catalogue import find_weights

STAGE_DEPTHS = {34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CROP_PX = 224
SPATIAL_STRIDE = 32
EXPANSION = 4  # channels out of a bottleneck per channel inside

KernelsT = tuple[tuple[int, ...], ...]
"""Temporal kernels of res2 to res5: for each stage those of its blocks, repeated cyclically."""


class Trunk(nn.Module):
    """Stem and stages res2 to res5 of one pathway.

    Args:
        depth: 50 or 101 layers.
        stem_kernel_t: temporal kernel of the stem.
        kernels_t: temporal kernels of the stages' blocks.
        width: channels of the stem; res2 to res5 have 4, 8, 16 and 32 times as many.
        fused_channels: channels from the other pathway that are added to each stage's input.
        stem_stride_t: temporal stride of the stem's convolution, and of its pool.

    Raises:
        OptionError: no ResNet has this depth.
    """

    def __init__(
        self,
        depth: int,
        stem_kernel_t: int,
        kernels_t: KernelsT,
        width: int = 64,
        fused_channels: tuple[int, int, int, int] = (0, 0, 0, 0),
        stem_stride_t: int = 1,
    ) -> None:
        super().__init__()
        depths = count_blocks(depth, (50, 101))
        self.stem = Stem(width, stem_kernel_t, stem_stride_t)
        stages = []
        in_channels = width
        for index, blocks in enumerate(depths):
            in_channels += fused_channels[index]
            inner, stride = width * 2**index, (1 if index == 0 else 2)
            stages.append(make_stage(in_channels, inner, blocks, kernels_t[index], stride))
            in_channels = inner * EXPANSION
        self.res2, self.res3, self.res4, self.res5 = stages
        self.out_channels = in_channels

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> (N, 32 `width`, T/stem_stride_t², H/32, W/32), rounded up."""
        return self.res5(self.res4(self.res3(self.res2(self.stem(clip)))))


class Stem(nn.Module):
    """7×7 convolution with a temporal kernel, then 3×3 max pool; each halves height and width.

    Args:
        channels: out of it. kernel_t: of the convolution. stride_t: of both, along time.
    """

    def __init__(self, channels: int, kernel_t: int, stride_t: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            3, channels, (kernel_t, 7, 7), (stride_t, 2, 2), (kernel_t // 2, 3, 3), bias=False
        )
        self.norm = nn.BatchNorm3d(channels)
        self.pool = nn.MaxPool3d((1, 3, 3), (stride_t, 2, 2), (0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, `channels`, T/stride_t², H/4, W/4), rounded up."""
        return self.pool(F.relu(self.norm(self.conv(x))))


class Bottleneck(nn.Module):
    """Residual block: reduce with a temporal kernel, convolve 3×3 in space, expand fourfold.

    The spatial convolution carries the stride of space; no convolution here has one of time, but
    the shortcut allows for that of a subclass.
    """

    def __init__(
        self, in_channels: int, inner: int, kernel_t: int, stride: int, stride_t: int = 1
    ) -> None:
        super().__init__()
        channels = inner * EXPANSION
        self.reduce = nn.Conv3d(
            in_channels, inner, (kernel_t, 1, 1), padding=(kernel_t // 2, 0, 0), bias=False
        )
        self.reduce_norm = nn.BatchNorm3d(inner)
        self.spatial = nn.Conv3d(
            inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False
        )
        self.spatial_norm = nn.BatchNorm3d(inner)
        self.expand = nn.Conv3d(inner, channels, 1, bias=False)
        self.expand_norm = nn.BatchNorm3d(channels)
        self.shortcut = make_shortcut(in_channels, channels, (stride_t, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 4 `inner`, T/stride_t, H/stride, W/stride), rounded up."""
        y = self.reduce_channels(x)
        y = F.relu(self.spatial_norm(self.spatial(y)))
        y = self.expand_norm(self.expand(y))
        return F.relu(self.shortcut(x) + y)

    def reduce_channels(self, x: Tensor) -> Tensor:
        """The input of the spatial convolution, (N, `inner`, T/stride_t, H, W)."""
        return F.relu(self.reduce_norm(self.reduce(x)))


def make_stage(
    in_channels: int, inner: int, blocks: int, kernels_t: tuple[int, ...], stride: int
) -> nn.Sequential:
    """A stage of bottlenecks: the first has the stride; temporal kernels repeat cyclically."""
    return nn.Sequential(
        *(
            Bottleneck(
                in_channels if index == 0 else inner * EXPANSION,
                inner,
                kernels_t[index % len(kernels_t)],
                stride if index == 0 else 1,
            )
            for index in range(blocks)
        )
    )


def count_blocks(depth: int, known: tuple[int, ...]) -> tuple[int, ...]:
    """Blocks per stage of a ResNet with this number of layers.

    Args:
        depth: layers.
        known: existing depths.

    Raises:
        OptionError: no ResNet has this depth.
    """
    if depth not in known:
        raise OptionError(
            f"cannot build a ResNet of {depth} layers: expected "
            f"{' or '.join(map(str, known))}; choose one of these"
        )
    return STAGE_DEPTHS[depth]


def make_card(name: str, summary: str, paper: str) -> ModelCard:
    """The card of a network for 8 frames, every eighth of a video of 30 frames/s."""
    published = find_weights(name, "kinetics400")
    return ModelCard(
        name=name,
        clip_frames=8,
        rate_hz=30 / 8,
        crop_px=CROP_PX,
        short_side_px=256,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        summary=summary,
        paper=paper,
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


def branch_ends(model: nn.Module) -> Iterator[nn.BatchNorm3d]:
    """The last norm of each residual branch."""
    for module in model.modules():
        if isinstance(module, Bottleneck):
            yield module.expand_norm
