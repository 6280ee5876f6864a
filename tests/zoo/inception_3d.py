"""Plain and inception-like 3D networks: C3D, I3D and S3D as their ports to PyTorch spell them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.blocks import unit


class C3D(nn.Module):
    """Five pools leave one frame of 16, which `view` drops (arXiv:1412.0767)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 4, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool1 = nn.MaxPool3d(kernel_size=(1, 2, 2), stride=(1, 2, 2))
        self.conv2 = nn.Conv3d(4, 4, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool2 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2))
        self.conv3a = nn.Conv3d(4, 6, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool3 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2))
        self.conv4a = nn.Conv3d(6, 6, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool4 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2))
        self.conv5a = nn.Conv3d(6, 6, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool5 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2), padding=(0, 1, 1))
        self.fc6 = nn.Linear(24, 12)
        self.fc7 = nn.Linear(12, 5)
        self.dropout = nn.Dropout(p=0.5)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool1(self.relu(self.conv1(x)))
        h = self.pool2(self.relu(self.conv2(h)))
        h = self.pool3(self.relu(self.conv3a(h)))
        h = self.pool4(self.relu(self.conv4a(h)))
        h = self.pool5(self.relu(self.conv5a(h)))
        h = h.view(-1, 24)
        return self.fc7(self.dropout(self.relu(self.fc6(h))))


class LongTermConvolutions(nn.Module):
    """C3D for long clips: several elements of time are left where they are flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
            nn.Conv3d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(6 * 4 * 2 * 2, 12), nn.ReLU(), nn.Dropout(0.9), nn.Linear(12, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(torch.flatten(x, 1))


def _same_padding(x: Tensor, kernel: tuple, stride: tuple) -> Tensor:
    """TensorFlow's "same", computed from the sizes of the clip and padded explicitly."""
    pads: list[int] = []
    for dim in (4, 3, 2):
        k, s, size = kernel[dim - 2], stride[dim - 2], x.size(dim)
        total = max(k - s, 0) if size % s == 0 else max(k - (size % s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class _Unit3D(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: tuple = (1, 1, 1), stride: tuple = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, padding=0, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=0.001, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = _same_padding(x, self.kernel, self.stride)
        return F.relu(self.bn(self.conv3d(x)))


class _MaxPoolSame(nn.MaxPool3d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(_same_padding(x, self.kernel_size, self.stride))  # type: ignore[arg-type]


class _Inception(nn.Module):
    def __init__(self, inputs: int, make_kernel: object, gate: type | None = None) -> None:
        super().__init__()
        make = make_kernel
        self.b0 = _Unit3D(inputs, 2)
        self.b1 = nn.Sequential(_Unit3D(inputs, 2), make(2, 4))  # type: ignore[operator]
        self.b2 = nn.Sequential(_Unit3D(inputs, 2), make(2, 2))  # type: ignore[operator]
        self.b3a = _MaxPoolSame((3, 3, 3), (1, 1, 1))
        self.b3b = _Unit3D(inputs, 2)
        self.gates = nn.ModuleList([gate(n) for n in (2, 4, 2, 2)] if gate else [])

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.b0(x), self.b1(x), self.b2(x), self.b3b(self.b3a(x))]
        if len(self.gates):
            parts = [gate(part) for gate, part in zip(self.gates, parts, strict=True)]
        return torch.cat(parts, dim=1)


class I3D(nn.Module):
    """Logits for every element of time that two strides leave (arXiv:1705.07750)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Unit3D(3, 4, (7, 7, 7), (2, 2, 2))
        self.pool = _MaxPoolSame((1, 3, 3), (1, 2, 2))
        self.mixed1 = _Inception(4, lambda i, o: _Unit3D(i, o, (3, 3, 3)))
        self.pool4 = _MaxPoolSame((3, 3, 3), (2, 2, 2))
        self.mixed2 = _Inception(10, lambda i, o: _Unit3D(i, o, (3, 3, 3)))
        self.avg_pool = nn.AvgPool3d(kernel_size=[2, 2, 2], stride=(1, 1, 1))  # type: ignore[arg-type]
        self.dropout = nn.Dropout(0.5)
        self.logits = nn.Conv3d(10, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed2(self.pool4(self.mixed1(self.pool(self.stem(x)))))
        x = self.logits(self.dropout(self.avg_pool(x)))
        return x.squeeze(3).squeeze(3)


class I3DMeanOfLogits(I3D):
    """What users then do with them: the mean over time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.mean(super().forward(x), dim=2)


class _SepConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        pad = kernel // 2
        self.conv_s = nn.Conv3d(
            inputs, outputs, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias=False
        )
        self.bn_s = nn.BatchNorm3d(outputs, eps=1e-3, affine=True)
        self.conv_t = nn.Conv3d(
            outputs, outputs, (kernel, 1, 1), (stride, 1, 1), (pad, 0, 0), bias=False
        )
        self.bn_t = nn.BatchNorm3d(outputs, eps=1e-3, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_t(self.conv_t(F.relu(self.bn_s(self.conv_s(x))))))


class _SelfGating(nn.Module):
    """S3D-G: channels weighed by the mean of the whole clip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        average = torch.mean(x, dim=[2, 3, 4])
        weights = torch.sigmoid(self.fc(average))
        return weights[:, :, None, None, None] * x


class S3D(nn.Module):
    """A pool of two elements of time that slides, then a mean (arXiv:1712.04851)."""

    def __init__(self, gate: type | None = None) -> None:
        super().__init__()
        self.base = nn.Sequential(
            _SepConv(3, 4, 7, 2),
            nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            _Inception(4, _SepConv, gate),
            nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2)),
            _Inception(10, _SepConv, gate),
        )
        self.fc = nn.Sequential(nn.Conv3d(10, 5, kernel_size=1, stride=1, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        y = F.avg_pool3d(y, (2, y.size(3), y.size(4)), stride=1)
        y = self.fc(y)
        y = y.view(y.size(0), y.size(1), y.size(2))
        return torch.mean(y, 2)


def s3d_g() -> nn.Module:
    return S3D(_SelfGating)


class EarlyFusion(nn.Module):
    """All frames stacked as channels of the first 2D layer (Karpathy et al., CVPR 2014)."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3 * frames, 6, 3, 2, 1)
        self.rest = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, 2)
        x = self.rest(self.conv1(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class T3D(nn.Module):
    """Temporal transition layers: kernels of several lengths side by side (arXiv:1711.08200)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 4, 3, (1, 2, 2))
        self.norm = nn.BatchNorm3d(4)
        self.branches = nn.ModuleList(
            nn.Conv3d(4, 4, (k, 3, 3), padding=(k // 2, 1, 1), bias=False) for k in (1, 3, 5)
        )
        self.pool = nn.AvgPool3d(2, 2)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = torch.cat([branch(x) for branch in self.branches], 1)
        x = F.adaptive_avg_pool3d(self.pool(x), (1, 1, 1))
        return self.fc(x.view(x.size(0), -1))
