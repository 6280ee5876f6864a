"""Lip reading: a 3D front end, a 2D network per frame, and what follows in time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual2d


class FrontEnd(nn.Module):
    """Grey mouths (N, 1, T, H, W) to features (N, T, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, 4, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
            nn.BatchNorm3d(4),
            nn.PReLU(num_parameters=4),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.trunk = nn.Sequential(Residual2d(4, 8, 2), Residual2d(8, 8))
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = self.frontend3D(x)
        frames = x.shape[2]
        x = self._to_batch(x)
        x = self.avgpool(self.trunk(x))
        x = x.view(x.size(0), -1)
        return x.view(n, frames, x.size(1))

    @staticmethod
    def _to_batch(x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        return x.transpose(1, 2).reshape(n * t, c, h, w)


class _Chomp(nn.Module):
    def __init__(self, size: int, symmetric: bool) -> None:
        super().__init__()
        self.size, self.symmetric = size, symmetric

    def forward(self, x: Tensor) -> Tensor:
        if self.symmetric:
            return x[:, :, self.size // 2 : -self.size // 2].contiguous()
        return x[:, :, : -self.size].contiguous()


class _TemporalBlock(nn.Module):
    """Branches of several kernels, each padded to both sides and cropped; a shortcut."""

    def __init__(
        self, channels: int, kernels: tuple[int, ...], dilation: int, symmetric: bool = True
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(
                    channels,
                    channels // len(kernels),
                    k,
                    padding=(k - 1) * dilation,
                    dilation=dilation,
                ),
                nn.BatchNorm1d(channels // len(kernels)),
                _Chomp((k - 1) * dilation, symmetric),
                nn.PReLU(channels // len(kernels)),
                nn.Dropout(0.2),
            )
            for k in kernels
        )
        self.relu_final = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([branch(x) for branch in self.branches], 1)
        return self.relu_final(y + x)


class MultiscaleTCN(nn.Module):
    """A mean over each video's own length at the end (arXiv:2001.08702)."""

    def __init__(self) -> None:
        super().__init__()
        self.front = FrontEnd()
        self.tcn = nn.Sequential(_TemporalBlock(8, (3, 5), 1), _TemporalBlock(8, (3, 5), 2))
        self.output = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        lengths = [x.shape[2]] * x.shape[0]
        y = self.tcn(self.front(x).transpose(1, 2))
        pooled = torch.stack([torch.mean(y[i][:, :n], 1) for i, n in enumerate(lengths)])
        return self.output(pooled)


class CausalTCN(nn.Module):
    """The same cropped at the end alone: nothing looks ahead, a score per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.front = FrontEnd()
        self.tcn = nn.Sequential(*(_TemporalBlock(8, (3,), d, symmetric=False) for d in (1, 2)))
        self.output = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.tcn(self.front(x).transpose(1, 2))
        return self.output(y.transpose(1, 2))


class GRUReader(nn.Module):
    """A GRU over the features (arXiv:2011.07557); bidirectional in most checkpoints."""

    def __init__(self, bidirectional: bool, per_frame: bool = False) -> None:
        super().__init__()
        self.front = FrontEnd()
        self.gru = nn.GRU(8, 6, 2, batch_first=True, bidirectional=bidirectional, dropout=0.2)
        self.per_frame = per_frame
        self.v_cls = nn.Sequential(nn.Dropout(0.5), nn.Linear(12 if bidirectional else 6, 5))

    def forward(self, x: Tensor) -> Tensor:
        self.gru.flatten_parameters()
        h, _ = self.gru(self.front(x))
        y = self.v_cls(h)
        return y if self.per_frame else y.mean(1)


class LipNet(nn.Module):
    """3D convolutions, `(T, N, F)`, two bidirectional GRUs, characters (arXiv:1611.01599)."""

    def __init__(self, bidirectional: bool = True) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv3d(3, 4, (3, 5, 5), (1, 2, 2), (1, 2, 2)), nn.ReLU(inplace=True),
            nn.Dropout3d(0.5), nn.MaxPool3d((1, 2, 2), (1, 2, 2)),
            nn.Conv3d(4, 6, (3, 3, 3), (1, 1, 1), (1, 1, 1)), nn.ReLU(inplace=True),
            nn.MaxPool3d((1, 2, 2), (1, 2, 2)),
        )  # fmt: skip
        width = 16 if bidirectional else 8
        self.gru1 = nn.GRU(6 * 2 * 2, 8, 1, bidirectional=bidirectional)
        self.gru2 = nn.GRU(width, 8, 1, bidirectional=bidirectional)
        self.FC = nn.Linear(width, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x.permute(2, 0, 1, 3, 4).contiguous()
        x = x.view(x.size(0), x.size(1), -1)
        x, _ = self.gru1(x)
        x, _ = self.gru2(x)
        return self.FC(x).permute(1, 0, 2).contiguous()


class WeightNormTCN(nn.Module):
    """The TCN of arXiv:1803.01271, its weights normalised as old code does it."""

    def __init__(self) -> None:
        super().__init__()
        self.front = FrontEnd()
        self.conv1 = nn.utils.parametrizations.weight_norm(
            nn.Conv1d(8, 8, 2, padding=2, dilation=2)
        )
        self.chomp = _Chomp(2, symmetric=False)
        self.linear = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.front(x).transpose(1, 2)
        y = F.relu(F.relu(self.chomp(self.conv1(y))) + y)
        return self.linear(y[:, :, -1])
