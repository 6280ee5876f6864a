"""Small networks, one per thing that can go wrong in time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """A residual block whose shortcut must wait for its branch."""

    def __init__(self, channels: int = 4, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, (kernel, 3, 3), padding=(kernel // 2, 1, 1))
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class SqueezeExcite(nn.Module):
    """A gate pooled over the whole clip."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.reduce = nn.Conv3d(channels, 2, 1)
        self.restore = nn.Conv3d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.adaptive_avg_pool3d(x, 1)
        return x * torch.sigmoid(self.restore(F.relu(self.reduce(gate))))


class Classifier(nn.Module):
    """A trunk, a global pool and a linear layer: clip (N, 3, T, H, W) -> (N, 5)."""

    def __init__(self, *trunk: nn.Module, channels: int = 4) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*trunk)
        self.fc = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.trunk(x).mean((2, 3, 4)))


class Apply(nn.Module):
    """Any function as a module."""

    def __init__(self, function: object, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)  # type: ignore[operator]


def stem(channels: int = 4) -> nn.Module:
    """A signed dense convolution in space-time, so that padding matters downstream."""
    return nn.Conv3d(3, channels, 3, padding=1)


def small_network() -> nn.Module:
    """Dense and depthwise kernels, residuals, a gate: the things that X3D is made of."""
    return Classifier(
        stem(),
        nn.BatchNorm3d(4),
        Residual(),
        nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0), groups=4, bias=False),
        SqueezeExcite(),
        nn.SiLU(),
        nn.Conv3d(4, 4, 3, padding=1, groups=4),
        Residual(),
    )
