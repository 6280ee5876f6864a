"""Expanded depthwise bottlenecks with squeeze-and-excitation (arXiv:2004.04730)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Gate(nn.Module):
    """Channels weighted by their mean over the whole clip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(width, 4, 1),
            nn.ReLU(),
            nn.Conv3d(4, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


class Block(nn.Module):
    """Expand, depthwise 3x3x3, gate (in every other block), swish, project."""

    def __init__(self, inputs: int, outputs: int, stride: int, gated: bool) -> None:
        super().__init__()
        inner = inputs * 9 // 4
        self.branch = nn.Sequential(
            nn.Conv3d(inputs, inner, 1, bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(),
            nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False),
            nn.BatchNorm3d(inner),
            Gate(inner) if gated else nn.Identity(),
            nn.SiLU(),
            nn.Conv3d(inner, outputs, 1, bias=False),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False),
                nn.BatchNorm3d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.branch(x))


class X3D(nn.Module):
    """A channelwise temporal stem, four stages, a convolutional head."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 4, 6, 8, 8)
        self.stem = nn.Sequential(
            nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
            nn.Conv3d(4, 4, (5, 1, 1), 1, (2, 0, 0), groups=4, bias=False),
            nn.BatchNorm3d(4),
            nn.ReLU(),
        )
        self.stages = nn.Sequential(
            *(Block(widths[i], widths[i + 1], 2, gated=i % 2 == 0) for i in range(4)),
            Block(widths[4], widths[4], 1, gated=True),
        )
        self.last = nn.Sequential(nn.Conv3d(8, 12, 1, bias=False), nn.BatchNorm3d(12), nn.ReLU())
        self.project = nn.Conv3d(12, 16, 1, bias=False)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.stages(self.stem(x)))
        pooled = F.relu(self.project(F.adaptive_avg_pool3d(y, 1)))
        return torch.softmax(self.fc(pooled.permute(0, 2, 3, 4, 1)), -1).mean((1, 2, 3))


def x3d() -> nn.Module:
    """The network, with gates over the clip."""
    return X3D()
