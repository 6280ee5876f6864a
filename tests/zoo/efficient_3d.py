"""Networks of few operations in 3D (arXiv:1904.02422): they end in a pool of what is left."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import unit


def _pool_all(x: Tensor) -> Tensor:
    return F.avg_pool3d(x, x.data.size()[-3:])


def _shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, depth, height, width = x.data.size()
    x = x.view(batch, groups, channels // groups, depth, height, width)
    x = x.permute(0, 2, 1, 3, 4, 5).contiguous()
    return x.view(batch, channels, depth, height, width)


class _ShuffleBottleneck(nn.Module):
    """ShuffleNet v1: the down-sampling block appends its pooled input."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        middle = outputs // 4
        if stride == 2:
            outputs = outputs - inputs
        self.conv1 = nn.Conv3d(inputs, middle, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm3d(middle)
        self.conv2 = nn.Conv3d(middle, middle, 3, stride, 1, groups=middle, bias=False)
        self.bn2 = nn.BatchNorm3d(middle)
        self.conv3 = nn.Conv3d(middle, outputs, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.AvgPool3d(kernel_size=(2, 3, 3), stride=2, padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = _shuffle(out, self.groups)
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        if self.stride == 2:
            out = self.relu(torch.cat([out, self.shortcut(x)], 1))
        else:
            out = self.relu(out + x)
        return out


class _ShuffleUnit(nn.Module):
    """ShuffleNet v2: half of the channels pass by."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        half = channels // 2
        inner = half if stride == 1 else channels
        self.banch2 = nn.Sequential(
            nn.Conv3d(inner, half, 1, 1, 0, bias=False),
            nn.BatchNorm3d(half),
            nn.ReLU(inplace=True),
            nn.Conv3d(half, half, 3, stride, 1, groups=half, bias=False),
            nn.BatchNorm3d(half),
            nn.Conv3d(half, half, 1, 1, 0, bias=False),
            nn.BatchNorm3d(half),
            nn.ReLU(inplace=True),
        )
        if stride > 1:
            self.banch1 = nn.Sequential(
                nn.Conv3d(channels, channels, 3, stride, 1, groups=channels, bias=False),
                nn.BatchNorm3d(channels),
                nn.Conv3d(channels, half, 1, 1, 0, bias=False),
                nn.BatchNorm3d(half),
                nn.ReLU(inplace=True),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x1 = x[:, : (x.shape[1] // 2), :, :, :]
            x2 = x[:, (x.shape[1] // 2) :, :, :, :]
            out = torch.cat((x1, self.banch2(x2)), 1)
        else:
            out = torch.cat((self.banch1(x), self.banch2(x)), 1)
        return _shuffle(out, 2)


class _Network(nn.Module):
    def __init__(self, *layers: nn.Module, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = _pool_all(self.features(x))
        x = x.view(x.size(0), -1)
        return self.classifier(x)


def _stem(stride: tuple[int, int, int] = (1, 2, 2)) -> list[nn.Module]:
    return [unit(3, 4, 3, stride), nn.MaxPool3d(kernel_size=3, stride=2, padding=1)]


def shufflenet3d_v1() -> nn.Module:
    return _Network(
        *_stem(),
        _ShuffleBottleneck(4, 16, 2, 2),
        _ShuffleBottleneck(16, 16, 1, 2),
        _ShuffleBottleneck(16, 24, 2, 2),
        width=24,
    )


def shufflenet3d_v2() -> nn.Module:
    return _Network(*_stem(), _ShuffleUnit(4, 2), _ShuffleUnit(4, 1), unit(4, 8, 1), width=8)


def mobilenet3d_v1() -> nn.Module:
    def separable(inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(unit(inputs, inputs, 3, stride, inputs), unit(inputs, outputs, 1))

    return _Network(
        unit(3, 4, 3, (1, 2, 2)), separable(4, 8, 2), separable(8, 8, 1), separable(8, 8, 2),
        width=8,
    )  # fmt: skip


class _Inverted(nn.Module):
    """MobileNet v2: expand, depthwise, project without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        hidden = 2 * inputs
        self.use_res_connect = stride == (1, 1, 1) and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv3d(inputs, hidden, 1, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv3d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm3d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv3d(hidden, outputs, 1, bias=False),
            nn.BatchNorm3d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


def mobilenet3d_v2() -> nn.Module:
    return _Network(
        unit(3, 4, 3, (1, 2, 2)),
        _Inverted(4, 4, (1, 1, 1)),
        _Inverted(4, 8, (2, 2, 2)),
        _Inverted(8, 8, (2, 2, 2)),
        width=8,
    )


class _Fire(nn.Module):
    """SqueezeNet: squeeze, expand twice, and sometimes a shortcut."""

    def __init__(self, inputs: int, squeeze: int, expand: int, use_bypass: bool = False) -> None:
        super().__init__()
        self.use_bypass = use_bypass
        self.squeeze = unit(inputs, squeeze, 1)
        self.expand1x1 = nn.Sequential(nn.Conv3d(squeeze, expand, 1), nn.BatchNorm3d(expand))
        self.expand3x3 = nn.Sequential(
            nn.Conv3d(squeeze, expand, 3, padding=1), nn.BatchNorm3d(expand)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.squeeze(x)
        out = torch.cat([self.expand1x1(out), self.expand3x3(out)], 1)
        if self.use_bypass:
            out += x
        return self.relu(out)


class _SqueezeNet(nn.Module):
    """Its classifier is a convolution with a pool of the clip's own sizes behind it."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_stem(),
            _Fire(4, 2, 4),
            _Fire(8, 2, 4, use_bypass=True),
            nn.MaxPool3d(kernel_size=3, stride=2, padding=1),
            _Fire(8, 4, 6),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(p=0.5),
            nn.Conv3d(12, 5, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.AvgPool3d((frames // 4, 2, 2), stride=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.features(x))
        return x.view(x.size(0), -1)


def squeezenet3d() -> nn.Module:
    return _SqueezeNet(16)


class _SqueezeExcite(nn.Module):
    """EfficientNet's gate, with swish."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv3d(channels, 2, 1)
        self.expand = nn.Conv3d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool3d(x, 1)
        y = self.reduce(y)
        y = self.expand(y * torch.sigmoid(y))
        return torch.sigmoid(y) * x


class _MBConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        inner = 2 * inputs
        self.expand = nn.Sequential(
            nn.Conv3d(inputs, inner, 1, bias=False), nn.BatchNorm3d(inner, eps=1e-3)
        )
        self.depthwise = nn.Conv3d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn = nn.BatchNorm3d(inner, eps=1e-3)
        self.se = _SqueezeExcite(inner)
        self.project = nn.Sequential(
            nn.Conv3d(inner, outputs, 1, bias=False), nn.BatchNorm3d(outputs)
        )
        self.skip = stride == (1, 1, 1) and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.expand(x))
        y = self.project(self.se(F.silu(self.bn(self.depthwise(y)))))
        return y + x if self.skip else y


def efficientnet3d() -> nn.Module:
    return _Network(
        unit(3, 4, 3, (1, 2, 2)), _MBConv(4, 4, (1, 1, 1)), _MBConv(4, 8, (2, 2, 2)), width=8
    )


class _Ghost(nn.Module):
    """Half of the channels are made from the other half by a cheap kernel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.primary = unit(inputs, -(-outputs // 2), 1)
        self.cheap = unit(-(-outputs // 2), outputs // 2 + 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.primary(x)
        out = torch.cat([x1, self.cheap(x1)], dim=1)
        return out[:, : self.outputs, :, :, :]


def ghostnet3d() -> nn.Module:
    return _Network(
        unit(3, 4, 3, (1, 2, 2)), _Ghost(4, 8), unit(8, 8, 3, 2, 8), _Ghost(8, 8), width=8
    )
