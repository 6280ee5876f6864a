"""3D residual networks as the code of arXiv:1711.09577 and its descendants spells them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import Residual3d, unit


def _zero_padded_shortcut(x: Tensor, planes: int, stride: int) -> Tensor:
    """Shortcut A: a pool of one, and channels of zeros."""
    out = F.avg_pool3d(x, kernel_size=1, stride=stride)
    zeros = torch.zeros(
        out.size(0), planes - out.size(1), out.size(2), out.size(3), out.size(4), dtype=x.dtype
    )
    return torch.cat([out.data, zeros], dim=1)


class _ShortcutA(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.outputs, self.stride, self.same = outputs, stride, inputs == outputs and stride == 1
        self.conv1 = unit(inputs, outputs, 3, stride)
        self.conv2 = unit(outputs, outputs)[:2]

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        out += x if self.same else _zero_padded_shortcut(x, self.outputs, self.stride)
        return F.relu(out)


class _Network(nn.Module):
    """A stem of 7x7x7, a pool of 3x3x3, stages, a pool of the whole clip, one layer."""

    def __init__(self, *stages: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 4, 7, stride=(1, 2, 2), padding=(3, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(kernel_size=(3, 3, 3), stride=2, padding=1)
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.avgpool(self.stages(x))
        return self.fc(x.view(x.size(0), -1))


def resnet3d() -> nn.Module:
    return _Network(Residual3d(4, 4), Residual3d(4, 8, 2), Residual3d(8, 8))


def resnet3d_shortcut_a() -> nn.Module:
    return _Network(_ShortcutA(4, 4, 1), _ShortcutA(4, 8, 2))


def wide_resnet3d() -> nn.Module:
    """Bottlenecks that are as wide as what they join."""
    return _Network(_Bottleneck(4, 8, 8, 1, 1), _Bottleneck(8, 16, 8, 1, 2))


def resnext3d() -> nn.Module:
    return _Network(_Bottleneck(4, 8, 8, 4, 1), _Bottleneck(8, 8, 8, 4, 2))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, outputs: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = unit(inputs, inner, 1)
        self.conv2 = unit(inner, inner, 3, stride, groups)
        self.conv3 = unit(inner, outputs, 1)[:2]
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = unit(inputs, outputs, 1, stride)[:2]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv3(self.conv2(self.conv1(x))) + self.downsample(x))


class _PreActivation(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.outputs, self.stride, self.same = outputs, stride, inputs == outputs and stride == 1
        self.bn1 = nn.BatchNorm3d(inputs)
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + (x if self.same else _zero_padded_shortcut(x, self.outputs, self.stride))


def preactivation_resnet3d() -> nn.Module:
    return _Network(_PreActivation(4, 4, 1), _PreActivation(4, 8, 2))


class _DenseLayer(nn.Sequential):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.add_module("norm1", nn.BatchNorm3d(inputs))
        self.add_module("relu1", nn.ReLU(inplace=True))
        self.add_module("conv1", nn.Conv3d(inputs, 2 * growth, 1, bias=False))
        self.add_module("norm2", nn.BatchNorm3d(2 * growth))
        self.add_module("relu2", nn.ReLU(inplace=True))
        self.add_module("conv2", nn.Conv3d(2 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        new = F.dropout(super().forward(x), p=0.2, training=self.training)
        return torch.cat([x, new], 1)


class _DenseNet(nn.Module):
    """Dense blocks; transitions halve time and space by a mean of 2x2x2."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(3, 4, 7, (1, 2, 2), 3, bias=False),
            nn.BatchNorm3d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(3, 2, 1),
            _DenseLayer(4, 2),
            _DenseLayer(6, 2),
            nn.BatchNorm3d(8),
            nn.ReLU(inplace=True),
            nn.Conv3d(8, 4, 1, bias=False),
            nn.AvgPool3d(2, stride=2),
            _DenseLayer(4, 2),
            nn.BatchNorm3d(6),
        )
        self.frames = frames
        self.classifier = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        out = F.relu(features, inplace=True)
        last_duration, last_size = -(-self.frames // 4), features.size(3)
        out = F.avg_pool3d(out, kernel_size=(last_duration, last_size, last_size))
        return self.classifier(out.view(features.size(0), -1))


def densenet3d() -> nn.Module:
    return _DenseNet(16)


class _Separable(nn.Module):
    """(2+1)D: space, then time, with as many weights as the dense kernel has."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        middle = (inputs * outputs * 27) // (inputs * 9 + 3 * outputs)
        self.conv_s = nn.Conv3d(
            inputs, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False
        )
        self.bn_s = nn.BatchNorm3d(middle)
        self.conv_t = nn.Conv3d(middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_t(F.relu(self.bn_s(self.conv_s(x))))


def r2plus1d() -> nn.Module:
    return _Network(
        _Separable(4, 8), nn.BatchNorm3d(8), nn.ReLU(), _Separable(8, 8, 2), nn.BatchNorm3d(8)
    )


class _Res2Net(nn.Module):
    """Hierarchical groups of channels: each group sees the group before it as well."""

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.width = channels // scale
        self.convs = nn.ModuleList(unit(self.width, self.width) for _ in range(scale - 1))
        self.restore = unit(channels, channels, 1)[:2]

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, self.width, 1)
        y, out = parts[0], []
        for i, conv in enumerate(self.convs):
            y = conv(y if i == 0 else y + parts[i])
            out.append(y)
        out.append(parts[-1])
        return F.relu(self.restore(torch.cat(out, 1)) + x)


def res2net3d() -> nn.Module:
    return _Network(Residual3d(4, 8, 2), _Res2Net(8, 4))


class _P3D(nn.Module):
    """Pseudo-3D: serial, parallel or half parallel kernels of space and time."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.space = unit(channels, channels, (1, 3, 3))
        self.time = unit(channels, channels, (3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        s = self.space(x)
        if self.kind == "A":
            out = self.time(s)
        elif self.kind == "B":
            out = s + self.time(x)
        else:
            out = s + self.time(s)
        return F.relu(x + out)


def p3d() -> nn.Module:
    return _Network(
        _P3D(4, "A"), _P3D(4, "B"), nn.MaxPool3d((2, 1, 1), (2, 1, 1)), _P3D(4, "C"), width=4
    )


class _CoST(nn.Module):
    """One kernel of two axes, shared by the three views of a clip; weights of a softmax."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3) * 0.2)
        self.coefficients = nn.Parameter(torch.randn(channels, 3))
        self.bn = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        views = [
            F.conv3d(x, self.weight.unsqueeze(2), padding=(0, 1, 1)),
            F.conv3d(x, self.weight.unsqueeze(3), padding=(1, 0, 1)),
            F.conv3d(x, self.weight.unsqueeze(4), padding=(1, 1, 0)),
        ]
        stacked = torch.stack(views, dim=-1)
        alpha = torch.softmax(self.coefficients, 1).view(1, -1, 1, 1, 1, 3)
        return F.relu(self.bn((stacked * alpha).sum(-1)) + x)


def cost() -> nn.Module:
    return _Network(_CoST(4), _CoST(4), width=4)


class _Smart(nn.Module):
    """ARTNet: appearance, and relation as squared responses over pairs of units."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.appearance = unit(channels, channels, (1, 3, 3))
        self.relation = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm3d(channels)
        self.cross = nn.Conv3d(channels, channels // 2, 1, groups=channels // 2, bias=False)
        self.reduce = unit(channels + channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        relation = torch.pow(self.bn(self.relation(x)), 2)
        relation = self.cross(relation) * 0.5
        return self.reduce(torch.cat((self.appearance(x), F.relu(relation)), dim=1))


def artnet() -> nn.Module:
    return _Network(_Smart(4), Residual3d(4, 8, 2))


class _MultiFiber(nn.Module):
    """Slices of channels, with a multiplexer that lets them talk."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: tuple) -> None:
        super().__init__()
        self.mux = nn.Sequential(unit(inputs, inputs // 2, 1), unit(inputs // 2, inputs, 1))
        self.conv1 = unit(inputs, outputs, 3, stride, groups)
        self.conv2 = unit(outputs, outputs, (1, 3, 3), 1, groups)
        self.shortcut = nn.Conv3d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = x + self.mux(x)
        return self.conv2(self.conv1(h)) + self.shortcut(x)


def mfnet() -> nn.Module:
    return _Network(_MultiFiber(4, 8, 4, (2, 1, 1)), _MultiFiber(8, 8, 4, (1, 2, 2)))
