"""A bottleneck ResNet with space and time apart, as R(2+1)D-50 (arXiv:1711.11248)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Reduce, 3x3 in space then 3 in time (strided each in its own), restore."""

    def __init__(self, inputs: int, inner: int, outputs: int, space: int, time: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv3d(inputs, inner, 1, bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(),
            nn.Conv3d(inner, inner, (1, 3, 3), (1, space, space), (0, 1, 1), bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(),
            nn.Conv3d(inner, inner, (3, 1, 1), (time, 1, 1), (1, 0, 0), bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(),
            nn.Conv3d(inner, outputs, 1, bias=False),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if (space, time) != (1, 1) or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, (time, space, space), bias=False),
                nn.BatchNorm3d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.branch(x))


def r2plus1d_bottleneck() -> nn.Module:
    """Time is strided in the last two stages, space in all; clips of eight frames."""
    return nn.Sequential(
        nn.Conv3d(3, 4, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        Bottleneck(4, 4, 8, 2, 1),
        Bottleneck(8, 4, 8, 2, 1),
        Bottleneck(8, 6, 12, 2, 2),
        Bottleneck(12, 6, 12, 1, 1),
        Bottleneck(12, 6, 12, 1, 2),
        nn.AvgPool3d((2, 1, 1), stride=1),
        nn.Dropout(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
