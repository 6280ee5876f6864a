"""Networks of several frame rates, of pyramids, and gates: SlowFast, TPN, X3D, CSN, MoViNet."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual3d, unit

ALPHA = 4


class SlowFast(nn.Module):
    """Slow and fast pathways, each of which picks its frames by `pick` (arXiv:1812.03982)."""

    def __init__(self, pick: str) -> None:
        super().__init__()
        self.pick = pick
        self.slow = nn.ModuleList(
            [unit(3, 8, (1, 7, 7), (1, 2, 2)), Residual3d(12, 12, (1, 2, 2), (1, 3, 3))]
        )
        self.fast = nn.ModuleList([unit(3, 2, (5, 7, 7), (1, 2, 2)), Residual3d(2, 4, (1, 2, 2))])
        self.lateral = nn.Conv3d(2, 4, (5, 1, 1), (ALPHA, 1, 1), (2, 0, 0), bias=False)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(16, 5)

    def _rates(self, x: Tensor) -> list[Tensor]:
        if self.pick == "linspace":
            chosen = torch.linspace(0, x.shape[2] - 1, x.shape[2] // ALPHA).long()
            return [torch.index_select(x, 2, chosen), x]
        if self.pick == "interpolate":
            return [
                F.interpolate(x, mode="nearest", scale_factor=(1.0 / ALPHA, 1.0, 1.0)),
                F.interpolate(x, mode="nearest", scale_factor=(1.0, 1.0, 1.0)),
            ]
        return [x[:, :, ::ALPHA, :, :], x]

    def forward(self, x: Tensor) -> Tensor:
        x_slow, x_fast = self._rates(x)
        x_slow, x_fast = self.slow[0](x_slow), self.fast[0](x_fast)
        x_slow = torch.cat((x_slow, self.lateral(x_fast)), dim=1)
        x_slow, x_fast = self.slow[1](x_slow), self.fast[1](x_fast)
        pooled = [F.adaptive_avg_pool3d(y, (1, 1, 1)) for y in (x_slow, x_fast)]
        y = self.dropout(torch.cat(pooled, dim=1))
        return self.fc(y.view(y.size(0), -1))


class SlowOnly(nn.Module):
    """No kernel over time before the last stages; head of ATen's own mean (arXiv:1812.03982)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8, (1, 7, 7), (1, 2, 2))
        self.stages = nn.Sequential(
            Residual3d(8, 8, 1, (1, 3, 3)), Residual3d(8, 8, (1, 2, 2), (3, 3, 3))
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        x = nn.AvgPool3d((8, 4, 4), stride=1)(x)
        x = x.permute((0, 2, 3, 4, 1))
        x = F.softmax(self.head(x), dim=4)
        x = x.mean([1, 2, 3])
        return x.view(x.shape[0], -1)


class C2D(nn.Module):
    """A 2D network in 3D kernels of one frame, with pools over two frames (arXiv:1711.07971)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            unit(3, 8, (1, 7, 7), (1, 2, 2)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            Residual3d(8, 8, 1, (1, 3, 3)),
            nn.MaxPool3d((2, 1, 1), (2, 1, 1)),
            Residual3d(8, 8, 1, (1, 3, 3)),
        )
        self.avg_pool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc_cls = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avg_pool(self.body(x))
        x = x.view(x.shape[0], -1)
        return self.fc_cls(x)


class TPN(nn.Module):
    """Two depths of a network at two rates each, fused top-down (arXiv:2004.03548)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8, (1, 7, 7), (1, 2, 2))
        self.stage4 = Residual3d(8, 8, 1, (1, 3, 3))
        self.stage5 = Residual3d(8, 8, (1, 2, 2), (3, 3, 3))
        self.spatial = unit(8, 8, (1, 3, 3), (1, 2, 2))
        self.rates = nn.ModuleList(
            nn.Sequential(unit(8, 4, (3, 1, 1)), nn.MaxPool3d((r, 1, 1), (r, 1, 1))) for r in (4, 8)
        )
        self.levels = nn.ModuleList([unit(4, 4, 1), unit(4, 4, 1)])
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        res4 = self.stage4(self.stem(x))
        res5 = self.stage5(res4)
        outs = [self.rates[0](self.spatial(res4)), self.rates[1](res5)]
        up = F.interpolate(outs[1], scale_factor=(2, 1, 1), mode="nearest")
        low = self.levels[0](outs[0] + up)
        high = self.levels[1](outs[1])
        low = F.max_pool3d(low, (2, 1, 1), (2, 1, 1))
        return self.fc(torch.cat([low, high], 1).mean(dim=(2, 3, 4)))


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc1, self.fc2 = nn.Conv3d(channels, 4, 1), nn.Conv3d(4, channels, 1)
        self.relu, self.sigmoid = nn.ReLU(inplace=True), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        module_input = x
        x = self.sigmoid(self.fc2(self.relu(self.fc1(self.avg_pool(x)))))
        return module_input * x


class _X3DBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, gate: bool) -> None:
        super().__init__()
        inner = 2 * outputs
        self.conv1 = unit(inputs, inner, 1)
        self.conv2 = unit(inner, inner, 3, (1, stride, stride), inner)[:2]
        self.se = _SqueezeExcite(inner) if gate else nn.Identity()
        self.swish = nn.SiLU()
        self.conv3 = unit(inner, outputs, 1)[:2]
        self.shortcut = unit(inputs, outputs, 1, (1, stride, stride))[:2]

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv3(self.swish(self.se(self.conv2(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class X3D(nn.Module):
    """Depthwise kernels, gates in every other block (arXiv:2004.04730)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_s = nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.conv1_t = nn.Conv3d(4, 4, (5, 1, 1), 1, (2, 0, 0), groups=4, bias=False)
        self.bn = nn.BatchNorm3d(4)
        self.body = nn.Sequential(_X3DBlock(4, 4, 2, True), _X3DBlock(4, 8, 2, False))
        self.conv5 = unit(8, 12, 1)
        self.fc1 = nn.Linear(12, 16, bias=False)
        self.fc2 = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv5(self.body(F.relu(self.bn(self.conv1_t(self.conv1_s(x))))))
        x = F.adaptive_avg_pool3d(x, 1).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class _ChannelSeparated(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, mode: str) -> None:
        super().__init__()
        self.conv1 = unit(inputs, 4, 1)
        conv2: list[nn.Module] = []
        if mode == "ip":
            conv2 = [nn.Conv3d(4, 4, 1, bias=False), nn.BatchNorm3d(4)]
        conv2.append(nn.Conv3d(4, 4, 3, stride, 1, groups=4, bias=False))
        self.conv2 = nn.Sequential(*conv2, nn.BatchNorm3d(4), nn.ReLU(inplace=True))
        self.conv3 = unit(4, outputs, 1)[:2]
        self.downsample = unit(inputs, outputs, 1, stride)[:2]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv3(self.conv2(self.conv1(x))) + self.downsample(x))


class CSN(nn.Module):
    """Channel-separated networks, interactions reduced or preserved (arXiv:1904.02811)."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            unit(3, 4, (3, 7, 7), (1, 2, 2)), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        )
        self.body = nn.Sequential(
            _ChannelSeparated(4, 8, 1, mode), _ChannelSeparated(8, 8, 2, mode)
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        return self.fc(x.mean(4).mean(3).mean(2))


class MC3(nn.Module):
    """3D kernels in the first stage only (arXiv:1711.11248)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            unit(3, 8, (3, 7, 7), (1, 2, 2)),
            Residual3d(8, 8),
            Residual3d(8, 8, (1, 2, 2), (1, 3, 3)),
        )
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.body(x)).flatten(1))
