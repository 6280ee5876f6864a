"""What most networks of the zoo are made of: convolution, norm, activation."""

import torch.nn.functional as F
from torch import Tensor, nn


def unit(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int, int] = 3,
    stride: int | tuple[int, int, int] = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A 3D convolution that keeps sizes at stride 1, a batch norm, an activation in place."""
    sizes = (kernel,) * 3 if isinstance(kernel, int) else kernel
    return nn.Sequential(
        nn.Conv3d(
            inputs, outputs, sizes, stride, tuple(k // 2 for k in sizes), groups=groups, bias=False
        ),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


def unit2d(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """The same on pictures."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual3d(nn.Module):
    """A basic block: two kernels and a shortcut, projected where shapes change."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int | tuple[int, int, int] = 1,
        kernel: int | tuple[int, int, int] = 3,
    ) -> None:
        super().__init__()
        self.conv1 = unit(inputs, outputs, kernel, stride)
        self.conv2 = unit(outputs, outputs, kernel)[:2]
        self.downsample: nn.Module | None = None
        if inputs != outputs or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        out = self.conv2(self.conv1(x))
        if self.downsample is not None:
            residual = self.downsample(x)
        out += residual
        return self.relu(out)


class Residual2d(nn.Module):
    """A basic block on pictures, with something of its own before its first kernel."""

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, before: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.conv1 = unit2d(inputs, outputs, 3, stride)
        self.conv2 = unit2d(outputs, outputs)[:2]
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(self.before(x))) + self.downsample(x), inplace=True)
