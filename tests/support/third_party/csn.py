"""Channel-separated networks (arXiv:1904.02811): depthwise kernels in space-time."""

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Reduce, depthwise 3x3x3 (after a pointwise one where interactions are kept), restore."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, stride: int, *, preserved: bool
    ) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv3d(inputs, inner, 1, bias=False), nn.BatchNorm3d(inner), nn.ReLU()
        )
        depthwise = nn.Conv3d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        mixed = [nn.Conv3d(inner, inner, 1, bias=False), nn.BatchNorm3d(inner)] if preserved else []
        self.separable = nn.Sequential(*mixed, depthwise, nn.BatchNorm3d(inner), nn.ReLU())
        self.restore = nn.Sequential(
            nn.Conv3d(inner, outputs, 1, bias=False), nn.BatchNorm3d(outputs)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.restore(self.separable(self.reduce(x))))


def csn(*, preserved: bool) -> nn.Module:
    """Interaction-reduced, or -preserved; space and time strided in the last three stages."""
    return nn.Sequential(
        nn.Conv3d(3, 4, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        Bottleneck(4, 4, 8, 1, preserved=preserved),
        Bottleneck(8, 4, 8, 2, preserved=preserved),
        Bottleneck(8, 6, 12, 2, preserved=preserved),
        Bottleneck(12, 6, 12, 1, preserved=preserved),
        Bottleneck(12, 6, 12, 2, preserved=preserved),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
