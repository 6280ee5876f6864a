"""MobileNetV2 over the frames of a clip (Sandler et al. 2018, arXiv:1801.04381), with shifts."""

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.temporal_shift import ShiftedConv

STEM_CHANNELS = 32
# For each stage: channels inside a block per input channel, channels out, blocks, stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """Clip (N, 3, T, H, W) -> maps (N, 1280, T, H/32, W/32), rounded up.

    Args:
        online: whether channels are only shifted from past frames.
    """

    channels = 1280

    def __init__(self, *, online: bool) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, (1, 3, 3), 2)
        stages = []
        in_channels = STEM_CHANNELS
        for factor, channels, count, stride in STAGES:
            blocks = []
            for index in range(count):
                stride_s = stride if index == 0 else 1
                blocks.append(InvertedResidual(in_channels, channels, factor, stride_s, online))
                in_channels = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = ConvNorm(in_channels, self.channels)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> (N, 1280, T, H/32, W/32), rounded up."""
        return self.last(self.stages(self.stem(clip)))


class ConvNorm(nn.Module):
    """Convolution within the frame, norm, ReLU6."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: tuple[int, int, int] = (1, 1, 1),
        stride: int = 1,
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(
            in_channels, channels, kernel, (1, stride, stride), padding, bias=False
        )
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T, H/stride, W/stride), rounded up."""
        return F.relu6(self.norm(self.conv(x)))


class InvertedResidual(nn.Module):
    """Expand, convolve depthwise within the frame, project; blocks with a shortcut also shift."""

    def __init__(
        self, in_channels: int, channels: int, factor: int, stride: int, online: bool
    ) -> None:
        super().__init__()
        inner = in_channels * factor
        self.is_residual = stride == 1 and in_channels == channels
        self.expand: nn.Module = nn.Identity()
        self.expand_norm: nn.Module = nn.Identity()
        if factor > 1:
            self.expand = (
                ShiftedConv(in_channels, inner, online=online)
                if self.is_residual
                else nn.Conv3d(in_channels, inner, 1, bias=False)
            )
            self.expand_norm = nn.BatchNorm3d(inner)
        self.depthwise = nn.Conv3d(
            inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), groups=inner, bias=False
        )
        self.depthwise_norm = nn.BatchNorm3d(inner)
        self.project = nn.Conv3d(inner, channels, 1, bias=False)
        self.project_norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T, H/stride, W/stride), rounded up."""
        y = self.expand_norm(self.expand(x))
        y = y if isinstance(self.expand, nn.Identity) else F.relu6(y)
        y = F.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.is_residual else y
