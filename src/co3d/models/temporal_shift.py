"""The temporal shift: some channels of a frame come from its neighbours (arXiv:1811.08383)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT_DIVISOR = 8
"""An eighth of the channels is shifted in each direction."""


def shift_both_ways(x: Tensor) -> Tensor:
    """An eighth of the channels from the next frame, an eighth from the previous: same shape.

    Zeros stand for the frames before the first and after the last.
    """
    fold = x.shape[1] // SHIFT_DIVISOR
    ahead = F.pad(x[:, :fold], (0, 0, 0, 0, 0, 1))[:, :, 1:]
    behind = F.pad(x[:, fold : 2 * fold], (0, 0, 0, 0, 1, 0))[:, :, :-1]
    return torch.cat((ahead, behind, x[:, 2 * fold :]), 1)


def shift_from_past(x: Tensor) -> Tensor:
    """The first eighth of the channels from the previous frame: same shape, no delay."""
    fold = x.shape[1] // SHIFT_DIVISOR
    behind = F.pad(x[:, :fold], (0, 0, 0, 0, 1, 0))[:, :, :-1]
    return torch.cat((behind, x[:, fold:]), 1)


class ShiftedConv(nn.Conv3d):
    """A pointwise convolution of shifted channels.

    Args:
        in_channels, channels: of the convolution.
        online: whether channels are only shifted from past frames.
    """

    def __init__(self, in_channels: int, channels: int, *, online: bool = False) -> None:
        super().__init__(in_channels, channels, 1, bias=False)
        self.shift = shift_from_past if online else shift_both_ways

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as Conv3d names it
        """(N, C, T, H, W) -> (N, `channels`, T, H, W)."""
        return super().forward(self.shift(input))
