"""TSN-style networks: frames as the batch of a 2D network, time in the layers between.

Their data loaders give (N, T·C, H, W); `Segments` makes that of a clip.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual2d, unit2d

SEGMENTS = 8


class Segments(nn.Module):
    """A 2D backbone over (N·T, C, H, W), one layer, and the mean of the scores."""

    def __init__(self, *blocks: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.base = nn.Sequential(unit2d(3, 8, 3, 2), *blocks)
        self.new_fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        x = x.permute(0, 2, 1, 3, 4).contiguous().view(n, t * c, h, w)
        x = self.base(x.view((-1, c, *x.size()[-2:])))
        x = F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
        x = self.new_fc(x)
        x = x.view((-1, SEGMENTS, *x.size()[1:]))
        return x.mean(dim=1, keepdim=True).squeeze(1)


def tsn() -> nn.Module:
    return Segments(Residual2d(8, 8))


class _Shift(nn.Module):
    """An eighth of the channels a frame on, an eighth a frame back."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        fold = c // 8
        if self.kind == "write":
            x = x.view(n // SEGMENTS, SEGMENTS, c, h, w)
            out = torch.zeros_like(x)
            out[:, :-1, :fold] = x[:, 1:, :fold]
            out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
            out[:, :, 2 * fold :] = x[:, :, 2 * fold :]
            return out.view(n, c, h, w)
        x = x.view(-1, SEGMENTS, c, h * w)
        left, mid = x[:, :, :fold, :], x[:, :, fold : 2 * fold, :]
        right = x[:, :, 2 * fold :, :]
        zeros = left - left
        blank = zeros[:, :1, :, :]
        left = torch.cat((left[:, 1:, :, :], blank), 1)
        zeros = mid - mid
        blank = zeros[:, :1, :, :]
        mid = torch.cat((blank, mid[:, :-1, :, :]), 1)
        out = torch.cat((left, mid, right), 2)
        return out.view(n, c, h, w)


def tsm_written() -> nn.Module:
    """Zeros, and three writes."""
    return Segments(Residual2d(8, 8, 1, _Shift("write")), Residual2d(8, 8, 2, _Shift("write")))


def tsm_concatenated() -> nn.Module:
    """Zeros as `x - x`, and concatenations."""
    return Segments(Residual2d(8, 8, 1, _Shift("cat")), Residual2d(8, 8, 2, _Shift("cat")))


class _OnlineShift(nn.Module):
    """One direction only, as the online model shifts."""

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        x = x.view(-1, SEGMENTS, c, h, w)
        first, rest = x[:, :, : c // 8], x[:, :, c // 8 :]
        first = F.pad(first, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]
        return torch.cat([first, rest], 2).view(nt, c, h, w)


def tsm_online() -> nn.Module:
    return Segments(Residual2d(8, 8, 1, _OnlineShift()), Residual2d(8, 8, 2, _OnlineShift()))


class _LearnedShift(nn.Module):
    """A depthwise kernel over time on (N·H·W, C, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        x = x.view(-1, SEGMENTS, c, h, w)
        x = x.permute([0, 3, 4, 2, 1]).contiguous().view(-1, c, SEGMENTS)
        x = self.conv(x)
        x = x.view(nt // SEGMENTS, h, w, c, SEGMENTS).permute([0, 4, 3, 1, 2]).contiguous()
        return x.view(nt, c, h, w)


class _MotionExcitation(nn.Module):
    """TEA: differences between transformed frames gate the channels of each."""

    def __init__(self, channels: int, reduction: int = 2) -> None:
        super().__init__()
        inner = channels // reduction
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.pad = (0, 0, 0, 0, 0, 0, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, _, _h, _w = x.size()
        bottleneck = self.bn1(self.conv1(x))
        reshaped = bottleneck.view((-1, SEGMENTS, *bottleneck.size()[1:]))
        now, _ = reshaped.split([SEGMENTS - 1, 1], dim=1)
        conv = self.conv2(bottleneck)
        conv = conv.view((-1, SEGMENTS, *conv.size()[1:]))
        _, after = conv.split([1, SEGMENTS - 1], dim=1)
        change = F.pad(after - now, self.pad, mode="constant", value=0)
        change = change.view((-1, *change.size()[2:]))
        y = self.bn3(self.conv3(self.avg_pool(change)))
        y = torch.sigmoid(y) - 0.5
        return x + x * y.expand_as(x)


class _MultipleTemporalAggregation(nn.Module):
    """TEA: groups of channels, each through its own learned shift after the one before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels // 4
        self.shifts = nn.ModuleList(_LearnedShift(self.width) for _ in range(3))
        self.convs = nn.ModuleList(unit2d(self.width, self.width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, self.width, 1)
        done, last = [parts[0]], None
        for part, shift, conv in zip(parts[1:], self.shifts, self.convs, strict=True):
            last = conv(shift(part if last is None else last + part))
            done.append(last)
        return torch.cat(done, 1)


class _TEA(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.me = _MotionExcitation(channels)
        self.mta = _MultipleTemporalAggregation(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.mta(self.me(x)) + x)


def tea() -> nn.Module:
    return Segments(_TEA(8), _TEA(8))


class _LocalDifferences(nn.Module):
    """TDN, between segments: differences to both neighbours at half of the size, as gates."""

    def __init__(self, channels: int, reduction: int = 2) -> None:
        super().__init__()
        inner = channels // reduction
        self.conv1, self.bn1 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.conv3, self.bn3 = nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.pool = nn.AvgPool2d(2, 2)
        self.small = nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1), nn.BatchNorm2d(inner))
        self.shift = _LearnedShift(channels)

    def _weigh(self, change: Tensor) -> Tensor:
        fine = self.small(change)
        coarse = F.interpolate(self.small(self.pool(change)), change.size()[2:])
        return torch.sigmoid(self.bn3(self.conv3(change / 3 + fine / 3 + coarse / 3))) - 0.5

    def forward(self, x: Tensor) -> Tensor:
        bottleneck = self.bn1(self.conv1(x))
        reshaped = bottleneck.view((-1, SEGMENTS, *bottleneck.size()[1:]))
        head, _ = reshaped.split([SEGMENTS - 1, 1], dim=1)
        _, tail = reshaped.split([1, SEGMENTS - 1], dim=1)
        conv = self.conv2(bottleneck)
        conv = conv.view((-1, SEGMENTS, *conv.size()[1:]))
        _, conv_tail = conv.split([1, SEGMENTS - 1], dim=1)
        conv_head, _ = conv.split([SEGMENTS - 1, 1], dim=1)
        forward = F.pad(conv_tail - head, (0, 0, 0, 0, 0, 0, 0, 1), mode="constant", value=0)
        backward = F.pad(conv_head - tail, (0, 0, 0, 0, 0, 0, 1, 0), mode="constant", value=0)
        forward = self._weigh(forward.view((-1, *forward.size()[2:])))
        backward = self._weigh(backward.view((-1, *backward.size()[2:])))
        return self.shift(x + x * (0.5 * forward + 0.5 * backward))


def tdn() -> nn.Module:
    """The frames inside a segment come as channels: five of three each, four differences."""
    return _TDN()


class _TDN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.conv1_5 = nn.Sequential(nn.Conv2d(12, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.body = nn.Sequential(Residual2d(8, 8, 1, _LocalDifferences(8)), Residual2d(8, 8))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        x = x.transpose(1, 2).reshape(n * t, c, h, w)  # 15 channels: five frames of a segment
        x1, x2, x3, x4, x5 = x[:, 0:3], x[:, 3:6], x[:, 6:9], x[:, 9:12], x[:, 12:15]
        change = torch.cat([x2 - x1, x3 - x2, x4 - x3, x5 - x4], 1).view(-1, 12, h, w)
        change = self.conv1_5(F.avg_pool2d(change, 2, 2))
        x = self.body(F.relu(0.5 * self.conv1(x3) + 0.5 * change))
        x = x.mean((2, 3)).view(n, t, -1)
        return self.fc(x.mean(1))


class _ACTION(nn.Module):
    """ACTION-Net: excitation in space-time, of channels, and of motion, added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.shift = _LearnedShift(channels)
        self.p1_conv1 = nn.Conv3d(1, 1, 3, padding=1, bias=False)
        self.p2_squeeze = nn.Conv2d(channels, inner, 1, bias=False)
        self.p2_conv1 = nn.Conv1d(inner, inner, 3, padding=1, bias=False)
        self.p2_expand = nn.Conv2d(inner, channels, 1, bias=False)
        self.p3_squeeze, self.p3_bn1 = nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner)
        self.p3_conv1 = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.p3_expand = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        n = nt // SEGMENTS
        x = self.shift(x)
        y = x.view(n, SEGMENTS, c, h, w).transpose(2, 1).contiguous()
        y = torch.sigmoid(self.p1_conv1(y.mean(1, keepdim=True)))
        x1 = x * y.transpose(2, 1).contiguous().view(nt, 1, h, w) + x
        y = self.p2_squeeze(F.adaptive_avg_pool2d(x, 1))
        y = y.view(n, SEGMENTS, c // 2, 1, 1).squeeze(-1).squeeze(-1).transpose(2, 1).contiguous()
        y = F.relu(self.p2_conv1(y)).transpose(2, 1).contiguous().view(-1, c // 2, 1, 1)
        x2 = x * torch.sigmoid(self.p2_expand(y)) + x
        y = self.p3_bn1(self.p3_squeeze(x))
        y1, _ = y.view((-1, SEGMENTS, *y.size()[1:])).split([SEGMENTS - 1, 1], dim=1)
        z = self.p3_conv1(y)
        _, z2 = z.view((-1, SEGMENTS, *z.size()[1:])).split([1, SEGMENTS - 1], dim=1)
        y = F.pad(z2 - y1, (0, 0, 0, 0, 0, 0, 0, 1), mode="constant", value=0)
        y = self.p3_expand(F.adaptive_avg_pool2d(y.view((-1, *y.size()[2:])), 1))
        return x1 + x2 + x * torch.sigmoid(y) + x


def action_net() -> nn.Module:
    return Segments(Residual2d(8, 8, 1, _ACTION(8)))


class _TAM(nn.Module):
    """TANet: a kernel over time made from the clip itself, and a gate in time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        t = SEGMENTS
        self.G = nn.Sequential(
            nn.Linear(t, 2 * t, bias=False), nn.BatchNorm1d(2 * t), nn.ReLU(inplace=True),
            nn.Linear(2 * t, 3, bias=False), nn.Softmax(-1),
        )  # fmt: skip
        self.L = nn.Sequential(
            nn.Conv1d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm1d(channels // 4), nn.ReLU(inplace=True),
            nn.Conv1d(channels // 4, channels, 1, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        n, t = nt // SEGMENTS, SEGMENTS
        new_x = x.view(n, t, c, h, w).permute(0, 2, 1, 3, 4).contiguous()
        out = F.adaptive_avg_pool2d(new_x.view(n * c, t, h, w), output_size=(1, 1)).view(-1, t)
        kernel = self.G(out.view(-1, t)).view(n * c, 1, -1, 1)
        local = self.L(out.view(n, c, t)).view(n, c, t, 1, 1)
        new_x = new_x * local
        out = F.conv2d(new_x.view(1, n * c, t, h * w), kernel, padding=(1, 0), groups=n * c)
        out = out.view(n, c, t, h, w)
        return out.permute(0, 2, 1, 3, 4).contiguous().view(nt, c, h, w)


def tanet() -> nn.Module:
    return Segments(Residual2d(8, 8, 1, _TAM(8)))
