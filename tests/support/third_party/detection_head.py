"""Per-frame action scores and boundaries: a dilated stack over features (arXiv:1903.01945)."""

import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    """A dilated convolution along time beside a shortcut."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilated = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.pointwise = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.relu(self.dilated(x)))


class Detector(nn.Module):
    """For every frame: which action, and how far away its start and end are."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv3d(3, 4, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
            nn.BatchNorm3d(4),
            nn.ReLU(),
            nn.Conv3d(4, 8, 3, (1, 2, 2), 1, bias=False),
            nn.BatchNorm3d(8),
            nn.ReLU(),
        )
        self.stack = nn.Sequential(nn.Conv1d(8, 8, 1), *(Layer(8, 2**i) for i in range(4)))
        self.scores = nn.Conv1d(8, 5, 1)
        self.offsets = nn.Conv1d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.stack(self.trunk(x).mean((3, 4)))
        return {"scores": self.scores(y), "offsets": F.softplus(self.offsets(y))}


def detection_head() -> nn.Module:
    """The network."""
    return Detector()
