"""Bottleneck ResNets inflated in time: Slow (arXiv:1812.03982) and I3D (arXiv:1711.07971)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Reduce (along time, too, where `temporal` > 1), 3x3 in space, restore."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, temporal: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv3d(inputs, inner, (temporal, 1, 1), padding=(temporal // 2, 0, 0), bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(),
            nn.Conv3d(inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(),
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


def stage(
    inputs: int, inner: int, outputs: int, stride: int, temporal: tuple[int, ...]
) -> nn.Sequential:
    """One block per entry of `temporal`; the first one strides in space."""
    return nn.Sequential(
        *(
            Bottleneck(
                inputs if i == 0 else outputs, inner, outputs, stride if i == 0 else 1, kernel
            )
            for i, kernel in enumerate(temporal)
        )
    )


def stem(width: int, temporal: int, stride: int = 1) -> nn.Sequential:
    """Seven by seven in space, then a max pool there."""
    return nn.Sequential(
        nn.Conv3d(3, width, (temporal, 7, 7), (stride, 2, 2), (temporal // 2, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


class Head(nn.Module):
    """A pool of fixed size, scores at every place, their probabilities averaged."""

    def __init__(self, inputs: int, frames: int, size: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool3d((frames, size, size), stride=1)
        self.proj = nn.Linear(inputs, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.proj(self.pool(x).permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        return F.adaptive_avg_pool3d(y.softmax(1), 1).flatten(1)


def slow() -> nn.Module:
    """Temporal kernels in the late stages alone, no temporal stride; for clips of 4 x 32 x 32."""
    return nn.Sequential(
        stem(4, 1),
        stage(4, 4, 8, 1, (1,)),
        stage(8, 4, 8, 2, (1,)),
        stage(8, 6, 12, 2, (3, 3)),
        stage(12, 6, 12, 2, (3,)),
        Head(12, 4, 1),
    )


def i3d() -> nn.Module:
    """Temporal kernels in most blocks, a temporal max pool; for clips of 8 x 32 x 32."""
    return nn.Sequential(
        stem(4, 5),
        stage(4, 4, 8, 1, (3,)),
        nn.MaxPool3d((2, 1, 1), (2, 1, 1)),
        stage(8, 4, 8, 2, (3, 1)),
        stage(8, 6, 12, 2, (3, 1)),
        stage(12, 6, 12, 2, (3,)),
        Head(12, 4, 1),
    )
