"""MoViNets (arXiv:2103.11511): the base network, and the streaming one on whole clips."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _tf_average(x: Tensor) -> Tensor:
    """TensorFlow's pool with "same" padding: the border's pools see fewer pixels."""
    h, w = x.shape[-2:]
    pad_h, pad_w = (h % 2) * 2 + (1 - h % 2), (w % 2) * 2 + (1 - w % 2)
    x = F.pad(x, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
    x = F.avg_pool3d(x, (1, 3, 3), (1, 2, 2))
    if pad_h % 2:
        x[..., -1, :] = x[..., -1, :] * 9 / 6
    if pad_w % 2:
        x[..., -1] = x[..., -1] * 9 / 6
    return x


class _Conv(nn.Module):
    """3D, or (2+1)D on folded frames with a causal kernel over time that keeps a buffer."""

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple, stride: tuple, groups: int, causal: bool
    ) -> None:
        super().__init__()
        self.causal, self.kernel = causal, kernel
        if causal:
            pad = kernel[1] // 2
            self.space = nn.Conv2d(
                inputs, outputs, kernel[1], stride[1], pad, groups=groups, bias=False
            )
            self.time = (
                nn.Conv2d(outputs, outputs, (kernel[0], 1), groups=outputs, bias=False)
                if kernel[0] > 1
                else None
            )
        else:
            pads = tuple(k // 2 for k in kernel)
            self.full = nn.Conv3d(inputs, outputs, kernel, stride, pads, groups=groups, bias=False)
        self.activation: Tensor | None = None
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        if not self.causal:
            return self.bn(self.full(x))
        n, c, t, h, w = x.shape
        y = self.space(x.permute(0, 2, 1, 3, 4).reshape(n * t, c, h, w))
        y = y.view(n, t, *y.shape[1:]).permute(0, 2, 1, 3, 4)
        if self.time is not None:
            _, c, t, h, w = y.shape
            past = self._past(y)
            z = torch.cat([past, y], 2)
            self.activation = z[:, :, -past.shape[2] :].detach()
            z = z.reshape(n, c, t + past.shape[2], h * w)
            y = self.time(z).view(n, c, t, h, w)
        return self.bn(y)

    def _past(self, y: Tensor) -> Tensor:
        if self.activation is None or self.activation.shape[0] != y.shape[0]:
            n, c, _, h, w = y.shape
            return torch.zeros(n, c, self.kernel[0] - 1, h, w, dtype=y.dtype)
        return self.activation


class _Gate(nn.Module):
    """Squeeze-and-excitation: over the clip, or over all frames so far."""

    def __init__(self, channels: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        inputs = channels * (2 if causal else 1)
        self.fc1, self.fc2 = nn.Conv3d(inputs, 4, 1), nn.Conv3d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.causal:
            space = F.adaptive_avg_pool3d(x, (x.shape[2], 1, 1))
            sums = torch.cumsum(space, 2)
            steps = torch.arange(1, x.shape[2] + 1, dtype=x.dtype).view(1, 1, -1, 1, 1)
            scale = torch.cat([sums / steps, space], 1)
        else:
            scale = F.adaptive_avg_pool3d(x, 1)
        return F.hardsigmoid(self.fc2(F.hardswish(self.fc1(scale)))) * x


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, causal: bool) -> None:
        super().__init__()
        inner = 2 * inputs
        self.expand = _Conv(inputs, inner, (1, 1, 1), (1, 1, 1), 1, causal)
        self.deep = _Conv(inner, inner, (3, 3, 3), (1, stride, stride), inner, causal)
        self.se = _Gate(inner, causal)
        self.project = _Conv(inner, outputs, (1, 1, 1), (1, 1, 1), 1, causal)
        self.res = _Conv(inputs, outputs, (1, 1, 1), (1, 1, 1), 1, causal)
        self.stride = stride
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        residual = _tf_average(x) if self.stride == 2 else x
        residual = self.res(residual)
        y = F.hardswish(self.deep(F.hardswish(self.expand(x))))
        return residual + self.alpha * self.project(self.se(y))


class MoViNet(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.conv1 = _Conv(3, 4, (1, 3, 3), (1, 2, 2), 1, causal)
        self.blocks = nn.Sequential(_Block(4, 4, 1, causal), _Block(4, 8, 2, causal))
        self.conv7 = _Conv(8, 12, (1, 1, 1), (1, 1, 1), 1, causal)
        self.classifier = nn.Sequential(
            nn.Conv3d(12, 16, 1), nn.Hardswish(), nn.Dropout(0.2), nn.Conv3d(16, 5, 1)
        )

    def clean_activation_buffers(self) -> None:
        for module in self.modules():
            if isinstance(module, _Conv):
                module.activation = None

    def forward(self, x: Tensor) -> Tensor:
        self.clean_activation_buffers()
        x = F.hardswish(self.conv1(x))
        x = F.hardswish(self.conv7(self.blocks(x)))
        x = F.adaptive_avg_pool3d(x, (x.shape[2], 1, 1))
        x = torch.cumsum(x, 2)[:, :, -1:] / x.shape[2] if self.causal else x.mean(2, keepdim=True)
        x = self.classifier(x)
        return x.flatten(1)
