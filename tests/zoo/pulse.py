"""Pulse from faces: a value per frame (remote photoplethysmography)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _block(inputs: int, outputs: int, kernel: tuple, pad: tuple) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, stride=1, padding=pad),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class PhysNet(nn.Module):
    """Time halved twice and doubled twice again by transposed convolutions (arXiv:1905.02419)."""

    def __init__(self, frames: int = 16) -> None:
        super().__init__()
        self.ConvBlock1 = _block(3, 4, (1, 5, 5), (0, 2, 2))
        self.ConvBlock2 = _block(4, 6, (3, 3, 3), (1, 1, 1))
        self.ConvBlock3 = _block(6, 6, (3, 3, 3), (1, 1, 1))
        self.MaxpoolSpa = nn.MaxPool3d((1, 2, 2), stride=(1, 2, 2))
        self.MaxpoolSpaTem = nn.MaxPool3d((2, 2, 2), stride=2)
        self.upsample, self.upsample2 = (
            nn.Sequential(
                nn.ConvTranspose3d(6, 6, (4, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0)),
                nn.BatchNorm3d(6),
                nn.ELU(),
            )
            for _ in range(2)
        )
        self.ConvBlock10 = nn.Conv3d(6, 1, (1, 1, 1), stride=1, padding=0)
        self.poolspa = nn.AdaptiveAvgPool3d((frames, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[2]
        x = self.MaxpoolSpa(self.ConvBlock1(x))
        x = self.MaxpoolSpaTem(self.ConvBlock2(x))
        x = self.MaxpoolSpaTem(self.ConvBlock3(x))
        visual = x
        x = self.upsample2(self.upsample(x))
        x = self.ConvBlock10(self.poolspa(x))
        return x.view(-1, length), visual


class PhysNetWave(PhysNet):
    """The wave alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


class _AttentionMask(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = torch.sum(x, dim=2, keepdim=True)
        total = torch.sum(total, dim=3, keepdim=True)
        size = x.size()
        return x / total * size[2] * size[3] * 0.5


class DeepPhys(nn.Module):
    """Motion and appearance of each frame, the one masked by the other (arXiv:1805.07888).

    `shift` gives its variant with temporal shifts (TS-CAN, arXiv:2006.03790).
    """

    def __init__(self, segment: int = 0) -> None:
        super().__init__()
        self.segment = segment
        self.motion1, self.motion2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.appearance1, self.appearance2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.mask_conv, self.mask = nn.Conv2d(6, 1, 1), _AttentionMask()
        self.pool = nn.AvgPool2d((2, 2))
        self.final1, self.final2 = nn.Linear(6 * 3 * 3, 8), nn.Linear(8, 1)

    def _shift(self, x: Tensor) -> Tensor:
        if not self.segment:
            return x
        nt, c, h, w = x.size()
        x = x.view(nt // self.segment, self.segment, c, h, w)
        fold = c // 3
        out = torch.zeros_like(x)
        out[:, :-1, :fold] = x[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return out.view(nt, c, h, w)

    def forward(self, x: Tensor) -> Tensor:
        n, _, t, h, w = x.shape
        x = x.permute(0, 2, 1, 3, 4).contiguous().view(n * t, 6, h, w)
        change, raw = x[:, :3, :, :], x[:, 3:, :, :]
        d = torch.tanh(self.motion1(self._shift(change)))
        d = torch.tanh(self.motion2(self._shift(d)))
        r = torch.tanh(self.appearance2(torch.tanh(self.appearance1(raw))))
        g = self.mask(torch.sigmoid(self.mask_conv(r)))
        d = self.pool(d * g)
        d = d.view(d.size(0), -1)
        return self.final2(torch.tanh(self.final1(d))).view(n, t)


def ts_can() -> nn.Module:
    return DeepPhys(8)


class EfficientPhys(nn.Module):
    """Differences of one frame more than it has segments, normalised (arXiv:2110.04447)."""

    def __init__(self, segment: int = 8) -> None:
        super().__init__()
        self.segment = segment
        self.batch_norm = nn.BatchNorm2d(3)
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3)
        self.mask_conv, self.mask = nn.Conv2d(6, 1, 1), _AttentionMask()
        self.pool = nn.AvgPool2d((2, 2))
        self.dense = nn.Linear(6 * 3 * 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.diff(x, dim=2)
        n, c, t, h, w = x.shape
        x = self.batch_norm(x.transpose(1, 2).reshape(n * t, c, h, w))
        y = torch.tanh(self.conv1(self._shift(x)))
        y = torch.tanh(self.conv2(self._shift(y)))
        g = self.mask(torch.sigmoid(self.mask_conv(y)))
        y = self.pool(y * g)
        return self.dense(y.view(y.size(0), -1)).view(n, t)

    def _shift(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        x = x.view(nt // self.segment, self.segment, c, h, w)
        fold = c // 3
        out = torch.zeros_like(x)
        out[:, :-1, :fold] = x[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
        return out.view(nt, c, h, w)


class PhysFormerStem(nn.Module):
    """Central differences in time in a convolution (arXiv:2111.12082, its attention left out)."""

    def __init__(self, theta: float = 0.6) -> None:
        super().__init__()
        self.theta = theta
        self.conv = nn.Conv3d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(6)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=(2, 1, 1)),
            nn.Conv3d(6, 6, (3, 1, 1), padding=(1, 0, 0)),
            nn.ELU(),
        )
        self.last = nn.Conv1d(6, 1, 1, 1, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.conv(x)
        weight = self.conv.weight
        kernel_diff = weight[:, :, 0, :, :].sum(2).sum(2) + weight[:, :, 2, :, :].sum(2).sum(2)
        diff = F.conv3d(x, kernel_diff[:, :, None, None, None])
        x = F.relu(self.norm(normal - self.theta * diff))
        x = self.up(F.max_pool3d(x, (2, 2, 2), 2))
        x = torch.mean(torch.mean(x, 3), 3)
        return self.last(x).squeeze(1)
