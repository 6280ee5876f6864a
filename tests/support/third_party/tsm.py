"""Temporal shift in a 2-D ResNet (arXiv:1811.08383)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shift(nn.Module):
    """An eighth of the channels from the next frame, an eighth from the previous one."""

    def __init__(self, segments: int, fold: int) -> None:
        super().__init__()
        self.segments = segments
        self.fold = fold

    def forward(self, x: Tensor) -> Tensor:
        frames, channels, height, width = x.shape
        x = x.view(frames // self.segments, self.segments, channels, height, width)
        fold = channels // self.fold
        out = torch.zeros_like(x)
        out[:, :-1, :fold] = x[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return out.view(frames, channels, height, width)


class Block(nn.Module):
    """A basic block whose branch, but not its shortcut, sees shifted channels."""

    def __init__(self, inputs: int, outputs: int, stride: int, segments: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            Shift(segments, 4),
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


class TSM(nn.Module):
    """Frames folded into the batch, a consensus of their scores."""

    def __init__(self, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 7, 2, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
            Block(4, 4, 1, segments),
            Block(4, 8, 2, segments),
            Block(8, 8, 1, segments),
            Block(8, 12, 2, segments),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).reshape(-1, x.shape[1], *x.shape[3:])
        scores = self.fc(self.backbone(frames))
        return scores.view(-1, self.segments, scores.shape[1]).mean(1)


def tsm() -> nn.Module:
    """Eight segments: clips of eight frames alone."""
    return TSM(8)
