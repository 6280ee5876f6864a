"""Inception with space and time apart (arXiv:1712.04851)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def unit(
    inputs: int, outputs: int, kernel: tuple[int, ...] | int = 1, **options: object
) -> nn.Module:
    """Convolution, norm, activation."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, bias=False, **options),  # type: ignore[arg-type]
        nn.BatchNorm3d(outputs, eps=1e-3),
        nn.ReLU(inplace=True),
    )


def separable(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    """Within the frame, then along time."""
    half = kernel // 2
    return nn.Sequential(
        unit(
            inputs,
            outputs,
            (1, kernel, kernel),
            stride=(1, stride, stride),
            padding=(0, half, half),
        ),
        unit(outputs, outputs, (kernel, 1, 1), stride=(stride, 1, 1), padding=(half, 0, 0)),
    )


class Inception(nn.Module):
    """Four branches, concatenated."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                unit(inputs, 2),
                nn.Sequential(unit(inputs, 3), separable(3, 4, 3)),
                nn.Sequential(unit(inputs, 2), separable(2, 3, 3)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), unit(inputs, 3)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class S3D(nn.Module):
    """Scores at every place, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            separable(3, 4, 7, 2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            unit(4, 4),
            separable(4, 6, 3),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            Inception(6),
            nn.MaxPool3d(3, 2, 1),
            Inception(12),
            nn.MaxPool3d((2, 1, 1), (2, 1, 1)),
            Inception(12),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Conv3d(12, 5, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        pooled = F.avg_pool3d(y, (2, y.shape[3], y.shape[4]), 1)
        return self.classifier(pooled).mean((2, 3, 4))


def s3d() -> nn.Module:
    """The network, in evaluation its dropout is off."""
    return S3D()
