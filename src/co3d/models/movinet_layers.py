"""Convolutions and pools of MoViNet, padded in space as TensorFlow does ("SAME")."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.movinet_sizes import Kernel

NORM_EPS = 1e-3
POOL_SIDE, POOL_STRIDE = 3, 2


def pad_same(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of `side` pixels, so that ceil(side / stride) windows fit."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def pad_space(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad height and width of (N, C, T, H, W) for square kernels."""
    pads = (*pad_same(x.shape[4], kernel, stride), *pad_same(x.shape[3], kernel, stride))
    return F.pad(x, pads) if any(pads) else x


class ConvNorm(nn.Module):
    """Convolution, norm, activation; a kernel in time is centred on its frame.

    Args:
        in_channels, channels: in and out.
        kernel: frames and side.
        stride: in space.
        groups: number of channel groups.
        causal: whether the activation is that of the stream network.
        activate: whether there is one.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: Kernel,
        stride: int,
        *,
        groups: int = 1,
        causal: bool = False,
        activate: bool = True,
    ) -> None:
        super().__init__()
        frames, side = kernel
        self.side, self.stride = side, stride
        self.causal, self.activate = causal, activate
        self.conv = nn.Conv3d(
            in_channels,
            channels,
            (frames, side, side),
            (1, stride, stride),
            (frames // 2, 0, 0),
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm3d(channels, NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T, H/stride, W/stride), rounded up."""
        y = self.norm(self.conv(pad_space(x, self.side, self.stride)))
        if not self.activate:
            return y
        return F.hardswish(y) if self.causal else F.silu(y)


class CausalConv(nn.Module):
    """A depthwise spatial kernel, then a temporal one over the frame and those before it.

    Each has a norm and an activation. A kernel of one frame has no temporal part.
    """

    def __init__(self, channels: int, kernel: Kernel, stride: int) -> None:
        super().__init__()
        self.frames, side = kernel
        self.spatial = ConvNorm(channels, channels, (1, side), stride, groups=channels, causal=True)
        if self.frames > 1:
            self.temporal = nn.Conv3d(
                channels, channels, (self.frames, 1, 1), groups=channels, bias=False
            )
            self.temporal_norm = nn.BatchNorm3d(channels, NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C, T, H/stride, W/stride), rounded up."""
        y = self.spatial(x)
        if self.frames == 1:
            return y
        past = F.pad(y, (0, 0, 0, 0, self.frames - 1, 0))
        return F.hardswish(self.temporal_norm(self.temporal(past)))


class SamePool(nn.Module):
    """Average over 3×3 pixels with stride two; at the border only over pixels inside the map."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C, T, H/2, W/2), rounded up."""
        height, width = x.shape[3:]
        pooled = F.avg_pool3d(
            pad_space(x, POOL_SIDE, POOL_STRIDE), (1, POOL_SIDE, POOL_SIDE), (1, 2, 2)
        )
        rows = torch.tensor(_border_factors(height), dtype=x.dtype, device=x.device)
        columns = torch.tensor(_border_factors(width), dtype=x.dtype, device=x.device)
        return pooled * (rows[:, None] * columns)


def _border_factors(side: int) -> list[float]:
    """For each window along an axis, its size divided by how much of it is inside the map."""
    before, _ = pad_same(side, POOL_SIDE, POOL_STRIDE)
    starts = range(-before, side - before, POOL_STRIDE)
    return [
        POOL_SIDE / (min(start + POOL_SIDE, side) - max(start, 0))
        for start in list(starts)[: -(-side // POOL_STRIDE)]
    ]
