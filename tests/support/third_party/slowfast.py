"""Two pathways at two frame rates, joined by lateral connections (arXiv:1812.03982)."""

import torch
from torch import Tensor, nn

from support.third_party.slow_i3d import stage, stem

ALPHA = 4


class Fuse(nn.Module):
    """The fast pathway, brought to the slow one's rate and appended to it."""

    def __init__(self, fast: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            fast, 2 * fast, (kernel, 1, 1), (ALPHA, 1, 1), (kernel // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(2 * fast)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        return torch.cat([slow, self.norm(self.conv(fast)).relu()], 1)


class SlowFast(nn.Module):
    """Takes one clip and picks the slow pathway's frames itself, evenly, first to last."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.slow = nn.ModuleList(
            [
                stem(4, 1),
                stage(4 + 4, 4, 8, 1, (1,)),
                stage(8 + 4, 4, 8, 2, (1,)),
                stage(8 + 4, 6, 12, 2, (3,)),
                stage(12 + 4, 6, 12, 2, (3,)),
            ]
        )
        self.fast = nn.ModuleList(
            [
                stem(2, 5),
                stage(2, 2, 2, 1, (3,)),
                stage(2, 2, 2, 2, (3,)),
                stage(2, 2, 2, 2, (3,)),
                stage(2, 2, 4, 2, (3,)),
            ]
        )
        self.fuse = nn.ModuleList([Fuse(2, kernel) for _ in range(4)])
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[2]
        picked = torch.linspace(0, frames - 1, frames // ALPHA).long()
        slow, fast = torch.index_select(x, 2, picked), x
        for i in range(len(self.slow)):
            slow, fast = self.slow[i](slow), self.fast[i](fast)
            if i < len(self.fuse):
                slow = self.fuse[i](slow, fast)
        return self.fc(torch.cat([self.pool(slow), self.pool(fast)], 1).flatten(1))


def slowfast(kernel: int) -> nn.Module:
    """Lateral connections of 5 or 7 frames."""
    return SlowFast(kernel)
