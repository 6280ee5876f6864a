"""Inflated Inception (arXiv:1705.07750), padded as TensorFlow's SAME: more after than before."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pad_same(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """As much as makes ceil(size / stride) outputs, the odd one at the end."""
    pads: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class Unit(nn.Module):
    """Padding, convolution, norm, activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel = (kernel,) * 3
        self.stride = (stride,) * 3
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(pad_same(x, self.kernel, self.stride))))


class Pool(nn.Module):
    """Padding with zeros, then a maximum: zeros take part, as after an activation they may."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Inception(nn.Module):
    """Four branches, concatenated."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.one = Unit(inputs, 2)
        self.three = nn.Sequential(Unit(inputs, 3), Unit(3, 4, 3))
        self.five = nn.Sequential(Unit(inputs, 2), Unit(2, 3, 3))
        self.pool = nn.Sequential(Pool((3, 3, 3), (1, 1, 1)), Unit(inputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class InceptionI3D(nn.Module):
    """Scores at every two frames, averaged over the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Unit(3, 4, 7, 2),
            Pool((1, 3, 3), (1, 2, 2)),
            Unit(4, 4),
            Unit(4, 6, 3),
            Pool((1, 3, 3), (1, 2, 2)),
            Inception(6),
            Pool((3, 3, 3), (2, 2, 2)),
            Inception(12),
            Pool((2, 2, 2), (2, 2, 2)),
            Inception(12),
        )
        self.pool = nn.AvgPool3d((2, 1, 1), 1)
        self.scores = nn.Conv3d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.pool(self.features(x))).squeeze(4).squeeze(3).mean(2)


def i3d_inception() -> nn.Module:
    """The network, for frames of 32 pixels."""
    return InceptionI3D()
