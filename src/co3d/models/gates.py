"""Squeeze-and-excitation gates, which scale channels by a function of pools (arXiv:1709.01507)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate made from its mean over the clip.

    Args:
        channels: of the clip.
        squeezed: channels of the hidden layer.
        activation: of the hidden layer.
    """

    def __init__(self, channels: int, squeezed: int, activation: Activation = F.relu) -> None:
        super().__init__()
        self.activation = activation
        self.reduce = nn.Conv3d(channels, squeezed, 1)
        self.restore = nn.Conv3d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        return x * self.gate(x.mean((2, 3, 4), keepdim=True))

    def gate(self, pooled: Tensor) -> Tensor:
        """The scale factors for means (N, C, T or 1, 1, 1)."""
        return self.restore(self.activation(self.reduce(pooled))).sigmoid()


class CausalSqueezeExcite(nn.Module):
    """Scale each channel of a frame by a gate of its means in this frame and in all frames so far.

    Args:
        channels, squeezed, activation: see `SqueezeExcite`.
    """

    def __init__(self, channels: int, squeezed: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.reduce = nn.Conv3d(2 * channels, squeezed, 1)
        self.restore = nn.Conv3d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        pooled = x.mean((3, 4), keepdim=True)
        hidden = self.reduce(torch.cat((running_mean(pooled), pooled), 1))
        gate = self.restore(self.activation(hidden))
        return x * (0.2 * gate + 0.5).clamp(0, 1)


def running_mean(x: Tensor) -> Tensor:
    """The mean of each time step and all before it: (N, C, T, …), same shape."""
    return x.cumsum(2) / torch.ones_like(x).cumsum(2)


def round_to_eight(width: float) -> int:
    """Nearest multiple of eight that is at least eight and loses no more than a tenth."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
