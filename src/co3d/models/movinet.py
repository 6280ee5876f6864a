"""MoViNet, networks for mobile devices (Kondratyuk et al. 2021, arXiv:2103.11511).

The base network convolves depthwise in space-time, with gates of means over the clip. The stream
network is causal: its kernels are spatial, then temporal over the frame and earlier ones, and its
gates and its head average all frames so far. Its steps therefore equal the clip network exactly
without delay, and carry a running sum instead of a window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.gates import CausalSqueezeExcite, SqueezeExcite, round_to_eight, running_mean
from co3d.models.movinet_layers import (
    CausalConv,
    ConvNorm,
    SamePool,
)
from co3d.models.movinet_sizes import SIZES, Kernel, Size
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.weights.catalogue import find_weights

HIDDEN_CHANNELS = 2048
SQUEEZE_RATIO = 4
SPATIAL_STRIDE = 32


class MoViNet(ClipModel):
    """A MoViNet: clip (N, 3, T, H, W), any T >= 1, H and W >= 32 -> logits (N, K).

    Args:
        size: of the network.
        causal: whether it is the stream network, which uses no later frame.
        num_classes: K.
        dropout: probability of dropping a hidden unit before the classifier, in training.

    Raises:
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(
        self, size: Size, causal: bool, num_classes: int = 600, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.causal = causal
        self.stem = ConvNorm(3, size.stem, (1, 3), 2, causal=causal)
        stages = []
        in_channels = size.stem
        for stage in size.stages:
            blocks = []
            for index, (inner, kernel) in enumerate(zip(stage.widths, stage.kernels, strict=True)):
                stride = stage.stride if index == 0 else 1
                blocks.append(Block(in_channels, inner, stage.channels, kernel, stride, causal))
                in_channels = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.last = ConvNorm(in_channels, size.last, (1, 1), 1, causal=causal)
        self.head = Head(size.last, num_classes, dropout)
        initialise(self, branch_ends=())

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        pooled = self.last(self.stages(self.stem(clip))).mean((3, 4))
        return self.head(running_mean(pooled)[:, :, -1] if self.causal else pooled.mean(2))


class Block(nn.Module):
    """Expand, convolve depthwise, gate, project; the branch has a scale initialised to 0."""

    def __init__(
        self,
        in_channels: int,
        inner: int,
        channels: int,
        kernel: Kernel,
        stride: int,
        causal: bool,
    ) -> None:
        super().__init__()
        self.expand = ConvNorm(in_channels, inner, (1, 1), 1, causal=causal)
        if causal:
            self.depthwise = CausalConv(inner, kernel, stride)
            squeezed = round_to_eight(inner // SQUEEZE_RATIO * 2)
            self.gate = CausalSqueezeExcite(inner, squeezed, F.hardswish)
        else:
            self.depthwise = ConvNorm(inner, inner, kernel, stride, groups=inner)
            squeezed = round_to_eight(inner // SQUEEZE_RATIO)
            self.gate = SqueezeExcite(inner, squeezed, F.silu)
        self.project = ConvNorm(inner, channels, (1, 1), 1, activate=False)
        self.pool = SamePool() if stride == 2 else nn.Identity()
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == channels
            else ConvNorm(in_channels, channels, (1, 1), 1, activate=False)
        )
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, T, H/stride, W/stride), rounded up."""
        branch = self.project(self.gate(self.depthwise(self.expand(x))))
        return self.shortcut(self.pool(x)) + self.alpha * branch


class Head(nn.Module):
    """A hidden layer and the classifier."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(in_channels, HIDDEN_CHANNELS)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HIDDEN_CHANNELS, num_classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled maps (N, C) -> (N, K)."""
        return self.classifier(self.dropout(F.silu(self.hidden(pooled))))


def _card(name: str, size: Size, summary: str) -> ModelCard:
    published = find_weights(name, "kinetics600")
    return ModelCard(
        name=name,
        clip_frames=size.clip_frames,
        rate_hz=size.rate_hz,
        crop_px=size.crop_px,
        short_side_px=size.crop_px,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        summary=summary,
        paper="MoViNets: Mobile Video Networks for Efficient Video Recognition, arXiv:2103.11511",
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


def _register(key: str, *, causal: bool) -> None:
    size = SIZES[key]
    name = f"movinet_{key}{'_stream' if causal else ''}"
    kind = "causal, its steps equal clips without delay" if causal else "base network, of clips"
    card = _card(name, size, f"MoViNet-{key.upper()}: mobile-sized; {kind}")

    @register_model(card)
    def build(num_classes: int = 600, dropout: float = 0.2) -> MoViNet:
        return MoViNet(size, causal, num_classes, dropout)


for _key in SIZES:
    _register(_key, causal=False)
# The larger stream networks have positional encodings in their gates, and no supported checkpoint.
for _key in ("a0", "a1", "a2"):
    _register(_key, causal=True)
