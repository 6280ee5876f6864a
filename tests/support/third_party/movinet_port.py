"""MoViNet-A0 with the names of its port to PyTorch, written from the paper (arXiv:2103.11511).

The stream form takes one frame after another and keeps what it needs: the newest inputs of its
temporal kernels, and sums of what its gates and its head have pooled so far.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Table 1 of the paper, A0: per block in, inside, out, frames and side of the kernel, stride.
A0 = (
    ((8, 24, 8, 1, 5, 2),),
    ((8, 80, 32, 3, 3, 2), (32, 80, 32, 3, 3, 1), (32, 80, 32, 3, 3, 1)),
    ((32, 184, 56, 5, 3, 2), (56, 112, 56, 3, 3, 1), (56, 184, 56, 3, 3, 1)),
    ((56, 184, 56, 5, 3, 1), *3 * ((56, 184, 56, 3, 3, 1),)),
    ((56, 384, 104, 5, 3, 2), *2 * ((104, 280, 104, 1, 5, 1),), (104, 344, 104, 1, 5, 1)),
)


def to_eight(width: float) -> int:
    nearest = max(8, int((width + 4) // 8) * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's padding: as few zeros as let every window fit, the odd one at the end."""
    for axis in (4, 3):
        size = x.shape[axis]
        total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
        shape = list(x.shape)
        shape[axis] = total // 2
        after = list(x.shape)
        after[axis] = total - total // 2
        x = torch.cat((x.new_zeros(shape), x, x.new_zeros(after)), axis)
    return x


def pool(x: Tensor) -> Tensor:
    """3×3 in steps of two, each over the pixels that are there."""
    sums = F.avg_pool3d(same(x, 3, 2), (1, 3, 3), (1, 2, 2))
    return sums / F.avg_pool3d(same(torch.ones_like(x), 3, 2), (1, 3, 3), (1, 2, 2))


class Part(nn.Sequential):
    """A convolution and its norm, by name."""

    def __init__(self, stream: bool, shape: tuple, stride: int, groups: int) -> None:
        outputs, inputs, frames, side = shape
        super().__init__()
        if stream:
            kernel = (side, side) if frames == 1 else (frames, 1)
            conv: nn.Module = nn.Conv2d(
                inputs, outputs, kernel, stride if frames == 1 else 1, groups=groups, bias=False
            )
            self.add_module("conv2d", conv)
            self.add_module("norm", nn.BatchNorm2d(outputs, eps=1e-3))
        else:
            conv = nn.Conv3d(
                inputs, outputs, (frames, side, side), (1, stride, stride), (frames // 2, 0, 0),
                groups=groups, bias=False,
            )  # fmt: skip
            self.add_module("conv3d", conv)
            self.add_module("norm", nn.BatchNorm3d(outputs, eps=1e-3))


class Conv(nn.Module):
    """Base: one kernel in space-time. Stream: a spatial one, then a causal one in time."""

    def __init__(
        self, stream: bool, inputs: int, outputs: int, frames: int, side: int, stride: int = 1,
        groups: int = 1, active: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stream, self.side, self.stride, self.frames = stream, side, stride, frames
        first = (outputs, inputs, 1 if stream else frames, side)
        self.conv_1 = Part(stream, first, stride, groups)
        if stream and frames > 1:
            self.conv_2 = Part(stream, (outputs, inputs, frames, 1), 1, groups)
        self.act = (F.hardswish if stream else F.silu) if active else (lambda x: x)
        self.past: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        x = same(x, self.side, self.stride)
        if not self.stream:
            return self.act(self.conv_1(x))
        x = self.act(self.conv_1(x[:, :, 0]))  # one frame
        if self.frames > 1:
            self.past = [*self.past, x][-self.frames :]
            missing = self.frames - len(self.past)
            rows = [torch.zeros_like(x)] * missing + self.past
            stacked = torch.stack(rows, 2).flatten(3)  # (N, C, T, H·W)
            x = self.act(self.conv_2(stacked)).unflatten(3, x.shape[2:])[:, :, 0]
        return x[:, :, None]


class Linear(nn.Module):
    """A pointwise convolution with a bias and no norm."""

    def __init__(self, stream: bool, inputs: int, outputs: int) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 1) if stream else nn.Conv3d(inputs, outputs, 1)
        self.conv_1 = nn.Sequential()
        self.conv_1.add_module("conv2d" if stream else "conv3d", conv)
        self.stream = stream

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_1(x[:, :, 0])[:, :, None] if self.stream else self.conv_1(x)


class Gate(nn.Module):
    def __init__(self, stream: bool, channels: int) -> None:
        super().__init__()
        self.stream = stream
        twice = 2 if stream else 1
        squeezed = to_eight(channels // 4 * twice)
        self.fc1 = Linear(stream, channels * twice, squeezed)
        self.fc2 = Linear(stream, squeezed, channels)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if not self.stream:
            hidden = F.silu(self.fc1(x.mean((2, 3, 4), keepdim=True)))
            return x * self.fc2(hidden).sigmoid()
        self.seen.append(x.mean((3, 4), keepdim=True))
        so_far = torch.stack(self.seen).mean(0)
        hidden = F.hardswish(self.fc1(torch.cat((so_far, self.seen[-1]), 1)))
        return x * (0.2 * self.fc2(hidden) + 0.5).clamp(0, 1)


class Block(nn.Module):
    def __init__(self, stream: bool, size: tuple) -> None:
        super().__init__()
        inputs, inner, outputs, frames, side, self.stride = size
        self.expand = Conv(stream, inputs, inner, 1, 1)
        self.deep = Conv(stream, inner, inner, frames, side, self.stride, inner)
        self.se = Gate(stream, inner)
        self.project = Conv(stream, inner, outputs, 1, 1, active=False)
        if self.stride != 1 or inputs != outputs:
            first = [nn.Identity()] if self.stride == 2 else []
            self.res = nn.Sequential(*first, Conv(stream, inputs, outputs, 1, 1, active=False))
        self.alpha = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = pool(x) if self.stride == 2 else x
        if hasattr(self, "res"):
            shortcut = self.res(shortcut)
        return shortcut + self.alpha * self.project(self.se(self.deep(self.expand(x))))


class MoViNetA0(nn.Module):
    """Base: a clip in. Stream: the frames of a clip, one after another; the last one's logits."""

    def __init__(self, stream: bool, classes: int) -> None:
        super().__init__()
        self.stream = stream
        self.conv1 = Conv(stream, 3, 8, 1, 3, 2)
        self.blocks = nn.Sequential()
        for i, stage in enumerate(A0):
            for j, size in enumerate(stage):
                self.blocks.add_module(f"b{i}_l{j}", Block(stream, size))
        self.conv7 = Conv(stream, 104, 480, 1, 1)
        self.classifier = nn.Sequential(
            Linear(stream, 480, 2048), nn.SiLU(), nn.Dropout(), Linear(stream, 2048, classes)
        )

    def forward(self, clip: Tensor) -> Tensor:
        parts = clip.split(1, 2) if self.stream else (clip,)
        maps = [self.conv7(self.blocks(self.conv1(part))) for part in parts]
        return self.classifier(torch.cat(maps, 2).mean((2, 3, 4), keepdim=True)).flatten(1)
