"""Further TSN-style networks: motion and time as modules of a 2D network, relations of frames."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual2d, unit, unit2d
from zoo.segments import SEGMENTS, Segments


class _STM(nn.Module):
    """A channel-wise kernel over time, and motion by differences of neighbours, added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.time = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.space = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.reduce, self.restore = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.next = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.shape
        n = nt // SEGMENTS
        s = x.reshape(n, SEGMENTS, c, h * w).permute(0, 3, 2, 1).reshape(n * h * w, c, SEGMENTS)
        s = self.time(s).reshape(n, h * w, c, SEGMENTS).permute(0, 3, 2, 1).reshape(nt, c, h, w)
        m = self.reduce(x)
        after = self.next(m).view(n, SEGMENTS, -1, h, w)
        m = m.view(n, SEGMENTS, -1, h, w)
        change = after[:, 1:] - m[:, :-1]
        change = torch.cat([change, torch.zeros_like(change[:, :1])], dim=1)
        return x + self.space(s) + self.restore(change.reshape(nt, -1, h, w))


def stm() -> nn.Module:
    return Segments(_STM(8), Residual2d(8, 8, 2))


class _TEI(nn.Module):
    """TEINet: differences gate channels, then a learned shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, groups=channels)
        self.squeeze, self.excite = nn.Linear(channels, 4), nn.Linear(4, channels)

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.shape
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1).view(-1, SEGMENTS, c)
        change = torch.diff(pooled, dim=1)
        change = torch.cat((change, torch.zeros_like(change[:, :1])), 1)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(change)))).reshape(nt, c, 1, 1)
        x = (x * gate).view(-1, SEGMENTS, c, h, w).permute(0, 3, 4, 2, 1).flatten(0, 2)
        x = self.conv(x).view(-1, h, w, c, SEGMENTS)
        return x.permute(0, 4, 3, 1, 2).reshape(nt, c, h, w)


def teinet() -> nn.Module:
    return Segments(Residual2d(8, 8, 1, _TEI(8)))


class _GST(nn.Module):
    """Grouped: some channels see a frame, the others three."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.space_inputs = inputs * 3 // 4
        self.space = nn.Conv3d(self.space_inputs, outputs // 2, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(inputs - self.space_inputs, outputs // 2, 3, padding=1)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        x = x.view(-1, SEGMENTS, c, h, w).transpose(1, 2)
        y = torch.cat(
            [self.space(x[:, : self.space_inputs]), self.time(x[:, self.space_inputs :])], dim=1
        )
        y = F.relu(self.bn(y)).transpose(1, 2).contiguous()
        return y.view(nt, -1, h, w)


def gst() -> nn.Module:
    return Segments(_GST(8, 8), Residual2d(8, 8, 2))


class _GateShift(nn.Module):
    """GSM: a learned gate says what of each group of channels is shifted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels, 2, 3, padding=1, groups=2)
        self.bn = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        nt, c, h, w = x.size()
        x = x.view(nt // SEGMENTS, SEGMENTS, c, h, w).permute(0, 2, 1, 3, 4).contiguous()
        gate = torch.tanh(self.conv3d(F.relu(self.bn(x))))
        groups = []
        for i, part in enumerate((x[:, : c // 2], x[:, c // 2 :])):
            y = gate[:, i].unsqueeze(1) * part
            rest = part - y
            blank = torch.zeros(y.size(0), y.size(1), 1, h, w, dtype=x.dtype)
            moved = [y[:, :, 1:], blank] if i == 0 else [blank, y[:, :, :-1]]
            groups.append(torch.cat(moved, dim=2) + rest)
        y = torch.cat(groups, 1)
        return y.permute(0, 2, 1, 3, 4).contiguous().view(nt, c, h, w)


def gsm() -> nn.Module:
    return Segments(Residual2d(8, 8, 1, _GateShift(8)))


class _ECO(nn.Module):
    """ECO: 2D features of frames, stacked, then a small 3D network."""

    def __init__(self) -> None:
        super().__init__()
        self.base2d = nn.Sequential(unit2d(3, 6, 3, 2), unit2d(6, 6))
        self.base3d = nn.Sequential(unit(6, 8), unit(8, 8, 3, 2))
        self.pool = nn.AvgPool3d((SEGMENTS // 2, 4, 4), 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        _n, c, t, h, w = x.shape
        x = self.base2d(x.transpose(1, 2).contiguous().view(-1, c, h, w))
        x = x.view(-1, t, 6, h // 2, w // 2).transpose(1, 2)
        x = self.pool(self.base3d(x))
        return self.fc(x.view(-1, 8))


def eco() -> nn.Module:
    return _ECO()


class _Relations(nn.Module):
    """TRN: a small network over the features of chosen frames, in order; several scales."""

    def __init__(self, frames: int, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.frames, self.scales = frames, scales
        self.features = nn.Sequential(unit2d(3, 6, 3, 2), unit2d(6, 6))
        self.relations = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(6 * s, 8), nn.ReLU(), nn.Linear(8, 5))
            for s in scales
        )
        self.chosen = [list(itertools.combinations(range(frames), s))[:3] for s in scales]

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        x = self.features(x.transpose(1, 2).reshape(n * t, c, h, w)).mean((2, 3))
        x = x.view(n, t, -1)
        total: Tensor | None = None
        for scale, relation, chosen in zip(self.scales, self.relations, self.chosen, strict=True):
            for frames in chosen:
                act = x[:, list(frames), :]
                act = relation(act.view(act.size(0), scale * act.size(2)))
                total = act if total is None else total + act
        assert total is not None
        return total


def trn() -> nn.Module:
    """One relation of all frames."""
    return _Relations(8, (8,))


def multiscale_trn() -> nn.Module:
    return _Relations(8, (8, 4, 2))


class _MotionSqueeze(nn.Module):
    """MSNet: correlations with the next frame over near displacements, softly argmaxed."""

    def __init__(self, channels: int, reach: int = 1) -> None:
        super().__init__()
        self.reach = reach
        self.embed = unit2d(channels, 4, 1)
        self.refine = unit2d(3, channels)

    def forward(self, x: Tensor) -> Tensor:
        nt, _, h, w = x.shape
        y = F.normalize(self.embed(x), p=2, dim=1).view(-1, SEGMENTS, 4, h, w)
        now, after = y[:, :-1].flatten(0, 1), y[:, 1:].flatten(0, 1)
        k = 2 * self.reach + 1
        near = F.unfold(after, k, padding=self.reach).view(-1, 4, k * k, h, w)
        scores = (near * now.unsqueeze(2)).sum(1)
        weights = F.softmax(scores * 10, dim=1)
        grid = torch.arange(k, dtype=x.dtype) - self.reach
        dx = (weights * grid.repeat(k).view(1, -1, 1, 1)).sum(1, keepdim=True)
        dy = (weights * grid.repeat_interleave(k).view(1, -1, 1, 1)).sum(1, keepdim=True)
        flow = torch.cat([dx, dy, scores.max(1, keepdim=True)[0]], 1).view(
            -1, SEGMENTS - 1, 3, h, w
        )
        flow = torch.cat([flow, flow[:, -1:]], dim=1)
        return x + self.refine(flow.view(nt, 3, h, w))


def msnet() -> nn.Module:
    return Segments(_MotionSqueeze(8), Residual2d(8, 8))


class _StNet(nn.Module):
    """Super-images of stacked frames as channels, blocks over time between 2D stages."""

    def __init__(self, near: int = 2) -> None:
        super().__init__()
        self.near = near
        self.conv = unit2d(3 * near, 8, 3, 2)
        self.block = nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0))
        self.bn = nn.BatchNorm3d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        x = x.transpose(1, 2).reshape(n * t // self.near, self.near * c, h, w)
        x = self.conv(x)
        x = x.view(n, t // self.near, *x.shape[1:]).permute(0, 2, 1, 3, 4)
        x = F.relu(self.bn(self.block(x)) + x)
        return self.fc(x.mean(dim=(2, 3, 4)))


def stnet() -> nn.Module:
    return _StNet()
