"""Residual networks of plain, mixed and factorised 3D convolutions (arXiv:1711.11248)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

# (inputs, outputs, stride) -> a 3x3x3 convolution or what stands for it.
MakeConv = Callable[[int, int, int], nn.Module]


def full(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A dense kernel in space-time, strided along all three."""
    return nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)


def planar(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A kernel within the frame, that leaves time as it is."""
    return nn.Conv3d(inputs, outputs, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)


def factorised(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """Space, then time, with as many weights between them as the dense kernel has."""
    middle = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
    return nn.Sequential(
        planar(inputs, middle, stride),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, conv: MakeConv) -> None:
        super().__init__()
        self.first = nn.Sequential(
            conv(inputs, outputs, stride), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
        )
        self.second = nn.Sequential(conv(outputs, outputs, 1), nn.BatchNorm3d(outputs))
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            strides = (1 if conv is planar else stride, stride, stride)
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, strides, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


def stem(width: int) -> nn.Module:
    """Seven by seven in space, three in time."""
    return nn.Sequential(
        nn.Conv3d(3, width, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def factorised_stem(width: int) -> nn.Module:
    """Seven by seven in space, then three in time."""
    middle = 3 * width // 4
    return nn.Sequential(
        nn.Conv3d(3, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, width, (3, 1, 1), 1, (1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


class VideoResNet(nn.Module):
    """Four stages, of which the last three halve space and, where dense, time."""

    def __init__(self, make_stem: Callable[[int], nn.Module], convs: list[MakeConv]) -> None:
        super().__init__()
        widths = (4, 4, 6, 8, 10)
        self.stem = make_stem(widths[0])
        blocks = []
        for i, conv in enumerate(convs):
            blocks.append(Block(widths[i], widths[i + 1], 1 if i == 0 else 2, conv))
            # One stage of two blocks: their shortcuts are of both kinds, plain and strided.
            if i == 1:
                blocks.append(Block(widths[i + 1], widths[i + 1], 1, conv))
        self.layers = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(widths[-1], 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.layers(self.stem(x))).flatten(1))


def r3d() -> nn.Module:
    """Dense kernels throughout."""
    return VideoResNet(stem, [full] * 4)


def mc3() -> nn.Module:
    """Dense kernels in the first stage alone."""
    return VideoResNet(stem, [full, planar, planar, planar])


def r2plus1d() -> nn.Module:
    """Factorised kernels throughout."""
    return VideoResNet(factorised_stem, [factorised] * 4)
