"""Detection, several inputs, poses and signs: what stands behind or beside a 3D network."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual2d, Residual3d, unit, unit2d


class _ChannelAttention(nn.Module):
    """YOWO's fusion: a Gram matrix of the channels (arXiv:1911.06644)."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.size()
        query = x.view(n, c, -1)
        energy = torch.bmm(query, query.permute(0, 2, 1))
        energy_new = torch.max(energy, -1, keepdim=True)[0].expand_as(energy) - energy
        out = torch.bmm(F.softmax(energy_new, dim=-1), query).view(n, c, h, w)
        return self.gamma * out + x


class YOWO(nn.Module):
    """A 3D network whose time is gone, a 2D one on the clip's last frame, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone_2d = nn.Sequential(unit2d(3, 6, 3, 2), unit2d(6, 6, 3, 2))
        self.backbone_3d = nn.Sequential(
            unit(3, 4, 3, (2, 2, 2)), Residual3d(4, 6, (2, 2, 2)), nn.MaxPool3d((2, 1, 1))
        )
        self.cfam = nn.Sequential(unit2d(12, 8, 1), _ChannelAttention(), unit2d(8, 8))
        self.conv_final = nn.Conv2d(8, 10, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x_3d, x_2d = x, x[:, :, -1, :, :]
        x_2d = self.backbone_2d(x_2d)
        x_3d = self.backbone_3d(x_3d)
        x_3d = torch.squeeze(x_3d, dim=2)
        return self.conv_final(self.cfam(torch.cat((x_3d, x_2d), dim=1)))


class ActionDetection(nn.Module):
    """A mean over time, then 2D convolutions and pools on the map (SlowFast's head on AVA)."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.body = nn.Sequential(unit(3, 6, 3, (1, 2, 2)), Residual3d(6, 8))
        self.temporal_pool = nn.AvgPool3d((8, 1, 1), stride=1)
        self.conv = unit2d(8, 8)
        self.spatial_pool = nn.MaxPool2d(2, stride=2)
        self.projection = nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if self.how == "pool":
            x = torch.squeeze(self.temporal_pool(x), 2)
        elif self.how == "middle":
            x = x[:, :, x.shape[2] // 2]
        else:
            x = x[:, :, -1]
        return torch.sigmoid(self.projection(self.spatial_pool(self.conv(x))))


class SSD(nn.Module):
    """Boxes and classes of two sizes of maps, flattened and joined, as a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(3, 6, 3, (1, 2, 2)), unit(6, 6))
        self.extra = unit2d(6, 8, 3, 2)
        self.loc = nn.ModuleList([nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)])
        self.conf = nn.ModuleList([nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = self.body(x).mean(2)
        maps, loc, conf = [first, self.extra(first)], [], []
        for y, to_box, to_class in zip(maps, self.loc, self.conf, strict=True):
            loc.append(to_box(y).permute(0, 2, 3, 1).contiguous())
            conf.append(to_class(y).permute(0, 2, 3, 1).contiguous())
        boxes = torch.cat([o.view(o.size(0), -1) for o in loc], 1)
        classes = torch.cat([o.view(o.size(0), -1) for o in conf], 1)
        return {
            "boxes": boxes.view(boxes.size(0), -1, 4),
            "classes": classes.view(x.size(0), -1, 3),
        }


class Tubelets(nn.Module):
    """Boxes of every frame of a stack of them, from 2D features joined as channels (MOC)."""

    def __init__(self, frames: int = 4) -> None:
        super().__init__()
        self.frames = frames
        self.backbone = nn.Sequential(unit2d(3, 6, 3, 2), unit2d(6, 6))
        self.heat, self.size = nn.Conv2d(6 * frames, 3, 3, padding=1), nn.Conv2d(6, 2, 1)
        self.move = nn.Conv2d(6 * frames, 2 * frames, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        chunk = [self.backbone(frame) for frame in x.unbind(dim=2)]
        joined = torch.cat(chunk, dim=1)
        sizes = torch.cat([self.size(y) for y in chunk], dim=1)
        return [self.heat(joined).sigmoid(), self.move(joined), sizes]


class TwoStream(nn.Module):
    """Pictures and optical flow in networks of their own, scores averaged (arXiv:1406.2199)."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Sequential(unit(3, 6, 3, (1, 2, 2)), Residual3d(6, 8, (2, 2, 2)))
        self.flow = nn.Sequential(unit(2, 6, 3, (1, 2, 2)), Residual3d(6, 8, (2, 2, 2)))
        self.heads = nn.ModuleList([nn.Linear(8, 5), nn.Linear(8, 5)])

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        scores = [
            head(F.adaptive_avg_pool3d(y, (1, 1, 1)).squeeze(-1).squeeze(-1).squeeze(-1))
            for head, y in zip(self.heads, (self.rgb(rgb), self.flow(flow)), strict=True)
        ]
        return sum(F.softmax(s, dim=1) for s in scores) / 2  # type: ignore[return-value]


class FlowFirst(nn.Module):
    """Stacked flow: ten of two channels each, seen as channels of a 2D network (per frame)."""

    def __init__(self, stack: int = 8) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * stack, 6, 3, 2, 1), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(2)
        )
        self.fc = nn.Linear(6 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        n = x.size(0)
        x = x.transpose(1, 2).contiguous().view(n, -1, x.size(3), x.size(4))
        return self.fc(torch.flatten(self.conv(x), 1))


class AudioVisual(nn.Module):
    """Pictures, and a strip of spectrogram per frame; both per frame, fused (lip sync)."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Sequential(unit(3, 6, (5, 3, 3), (1, 2, 2)), unit(6, 6, (1, 3, 3)))
        self.sound = nn.Sequential(
            nn.Conv2d(1, 6, (3, 5), padding=(1, 2)), nn.BatchNorm2d(6), nn.ReLU()
        )
        self.fuse = nn.Conv1d(12, 8, 3, padding=1)
        self.fc = nn.Linear(8, 2)

    def forward(self, x: Tensor, audio: Tensor) -> dict[str, Tensor]:
        v = self.picture(x).mean((3, 4))
        _n, _, _t, _mel, _ = audio.shape
        a = audio.squeeze(4).permute(0, 1, 3, 2)  # (N, 1, mel, T)
        a = self.sound(a).mean(2)
        y = F.relu(self.fuse(torch.cat([v, a], 1)))
        similar = F.cosine_similarity(v, a, dim=1)
        return {"speaking": self.fc(y.permute(0, 2, 1)), "sync": similar}


class PoseConv3D(nn.Module):
    """Heat maps of joints as channels, no early downsampling (arXiv:2104.13586)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = unit(17, 8, (1, 7, 7))
        self.stages = nn.Sequential(
            Residual3d(8, 8, (1, 2, 2), (1, 3, 3)), Residual3d(8, 12, (1, 2, 2), (3, 3, 3))
        )
        self.fc_cls = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.conv1(x))
        x = nn.AdaptiveAvgPool3d(1)(x)
        x = x.reshape(x.shape[0], -1)
        return self.fc_cls(x)


class SkeletonGraph(nn.Module):
    """ST-GCN: joints in space, a kernel over time, joints mixed by a graph (arXiv:1801.07455)."""

    def __init__(self, joints: int = 8) -> None:
        super().__init__()
        self.register_buffer("A", torch.rand(3, joints, joints))
        self.edge = nn.Parameter(torch.ones(3, joints, joints))
        self.data_bn = nn.BatchNorm1d(3 * joints)
        self.gcn = nn.Conv2d(3, 3 * 6, 1)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 6, (9, 1), (2, 1), (4, 0)),
            nn.BatchNorm2d(6),
        )  # fmt: skip
        self.fcn = nn.Conv2d(6, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, v, m = x.size()
        x = x.permute(0, 4, 3, 1, 2).contiguous().view(n * m, v * c, t)
        x = self.data_bn(x).view(n, m, v, c, t).permute(0, 1, 3, 4, 2).contiguous()
        x = self.gcn(x.view(n * m, c, t, v))
        nm, kc, t, v = x.size()
        x = torch.einsum("nkctv,kvw->nctw", (x.view(nm, 3, kc // 3, t, v), self.A * self.edge))
        x = F.relu(self.tcn(x.contiguous()))
        x = F.avg_pool2d(x, x.size()[2:]).view(n, m, -1, 1, 1).mean(dim=1)
        return self.fcn(x).view(x.size(0), -1)


class SignLanguage(nn.Module):
    """Features per frame, kernels and pools over time, scores per part of a sentence (VAC)."""

    def __init__(self, recurrent: bool) -> None:
        super().__init__()
        self.conv2d = nn.Sequential(unit2d(3, 6, 3, 2), Residual2d(6, 6), nn.AdaptiveAvgPool2d(1))
        self.temporal_conv = nn.Sequential(
            nn.Conv1d(6, 8, 5), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.MaxPool1d(2),
            nn.Conv1d(8, 8, 5), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.MaxPool1d(2),
        )  # fmt: skip
        self.rnn = nn.LSTM(8, 4, bidirectional=True, batch_first=False) if recurrent else None
        self.classifier = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        x = x.permute(0, 2, 1, 3, 4).reshape(n * t, c, h, w)
        x = self.conv2d(x).view(n, t, -1).transpose(1, 2)
        x = self.temporal_conv(x)
        if self.rnn is not None:
            y, _ = self.rnn(x.permute(2, 0, 1))
            x = y.permute(1, 2, 0)
        return self.classifier(x.transpose(1, 2))


class SignI3D(nn.Module):
    """An I3D's features of windows that slide, then a TCN over them."""

    def __init__(self) -> None:
        super().__init__()
        self.i3d = nn.Sequential(unit(3, 6, 3, (2, 2, 2)), nn.MaxPool3d(3, 2, 1), unit(6, 8))
        self.pool = nn.AvgPool3d((2, 8, 8), stride=1)
        self.tcn = nn.Conv1d(8, 8, 3, padding=2, dilation=2)
        self.fc = nn.Conv1d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.i3d(x)).squeeze(-1).squeeze(-1)
        return self.fc(x + F.relu(self.tcn(x)))


class EgocentricTwoTasks(nn.Module):
    """Verbs and nouns from one body, as a tuple; attention within each frame (LSTA-like)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(3, 6, 3, (1, 2, 2)), Residual3d(6, 8))
        self.cam = nn.Conv3d(8, 1, 1)
        self.verb, self.noun = nn.Linear(8, 4), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        b, c, t, h, w = x.shape
        cam = F.softmax(self.cam(x).view(b, t, h * w) / math.sqrt(c), dim=-1).view(b, 1, t, h, w)
        x = (x * cam).sum(dim=(-2, -1))
        x = F.dropout(x.mean(dim=-1), 0.5, self.training)
        return self.verb(x), self.noun(x)


class BackgroundSubtraction(nn.Module):
    """A clip less its own mean over time, before the first kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(3, 6), Residual3d(6, 6))
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x - torch.mean(x, dim=2, keepdim=True)
        return self.fc(self.body(x).mean([2, 3, 4]))


class GroupNormR3D(nn.Module):
    """Group norms over the clip, as detectors that train small batches have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.gn1 = nn.Conv3d(3, 8, 3, (1, 2, 2), 1), nn.GroupNorm(2, 8)
        self.conv2, self.gn2 = nn.Conv3d(8, 8, 3, 1, 1), nn.GroupNorm(4, 8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.gn1(self.conv1(x)), inplace=True)
        x = F.relu(self.gn2(self.conv2(x)) + x)
        return self.fc(F.adaptive_max_pool3d(x, 1).flatten(1))
