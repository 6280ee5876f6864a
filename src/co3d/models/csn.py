"""CSN, ResNets whose kernels in space-time are depthwise (Tran et al. 2019, arXiv:1904.02811).

Only pointwise convolutions mix channels. In the interaction-reduced form (ir) the 3×3×3 convolution
of a bottleneck is depthwise; in the interaction-preserved form (ip) a pointwise one precedes it.
Time and space are halved three times.
"""

import math
from types import MappingProxyType
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.head import SlidingHead
from co3d.models.registry import register_model
from co3d.models.residual import initialise, make_shortcut
from co3d.models.resnet3d import CROP_PX, EXPANSION, SPATIAL_STRIDE, Stem, count_blocks
from co3d.weights.catalogue import find_weights

Interaction = Literal["reduced", "preserved"]

STEM_CHANNELS, STEM_KERNEL_T = 64, 3
DEPTHS = (50, 101, 152)
CAFFE2_EPS = 1e-3
"""The eps of the norms in the networks of the authors and of mmaction2."""

PYTORCHVIDEO_EPS = 1e-5


class CSN(ClipModel):
    """A channel-separated ResNet: clip (N, 3, T, H, W), any T >= 1, H, W >= 32 -> logits (N, K).

    Args:
        depth: 50, 101 or 152 layers.
        interaction: "reduced" (ir-CSN) or "preserved" (ip-CSN).
        norm_eps: what the norms add to the variance.
        pool_side: side of the head's sliding window; None to average the whole map.
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.

    Raises:
        OptionError: no ResNet has this depth.
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(
        self,
        depth: int,
        interaction: Interaction = "reduced",
        norm_eps: float = CAFFE2_EPS,
        pool_side: int | None = None,
        num_classes: int = 400,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.stem = Stem(STEM_CHANNELS, STEM_KERNEL_T)
        stages = []
        in_channels = STEM_CHANNELS
        for index, count in enumerate(count_blocks(depth, DEPTHS)):
            inner = STEM_CHANNELS * 2**index
            blocks = []
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(Bottleneck(in_channels, inner, stride, interaction))
                in_channels = inner * EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = SlidingHead(in_channels, pool_side, num_classes, dropout, "logits")
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = norm_eps
        initialise(self, branch_ends=())

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        return self.head(self.stages(self.stem(clip)))


class Bottleneck(nn.Module):
    """Residual block: reduce, mix channels (ip only), convolve depthwise in space-time, expand.

    The depthwise convolution has the stride, in space and time.
    """

    def __init__(self, in_channels: int, inner: int, stride: int, interaction: Interaction) -> None:
        super().__init__()
        channels = inner * EXPANSION
        self.reduce = nn.Conv3d(in_channels, inner, 1, bias=False)
        self.reduce_norm = nn.BatchNorm3d(inner)
        self.mix: nn.Module = nn.Identity()
        self.mix_norm: nn.Module = nn.Identity()
        if interaction == "preserved":
            self.mix = nn.Conv3d(inner, inner, 1, bias=False)
            self.mix_norm = nn.BatchNorm3d(inner)
        self.depthwise = nn.Conv3d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.depthwise_norm = nn.BatchNorm3d(inner)
        self.expand = nn.Conv3d(inner, channels, 1, bias=False)
        self.expand_norm = nn.BatchNorm3d(channels)
        self.shortcut = make_shortcut(in_channels, channels, (stride, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, 4 `inner`, ...), divided by the stride and rounded up."""
        y = F.relu(self.reduce_norm(self.reduce(x)))
        y = self.mix_norm(self.mix(y))
        y = F.relu(self.depthwise_norm(self.depthwise(y)))
        y = self.expand_norm(self.expand(y))
        return F.relu(self.shortcut(x) + y)


class PyTorchVideoCSN(CSN):
    """CSN as PyTorchVideo trains it: with another eps in norms, and a sliding head."""

    refused_formats = MappingProxyType(
        {"mmaction2 CSN": f"its norms add {CAFFE2_EPS:g} to the variance, not {PYTORCHVIDEO_EPS:g}"}
    )

    def __init__(self, depth: int, num_classes: int, dropout: float) -> None:
        pool_side = math.ceil(CROP_PX / SPATIAL_STRIDE)
        super().__init__(depth, "reduced", PYTORCHVIDEO_EPS, pool_side, num_classes, dropout)


class Caffe2CSN(CSN):
    """CSN as its authors and mmaction2 train it."""

    refused_formats = MappingProxyType(
        {
            "PyTorchVideo CSN": (
                f"its norms add {PYTORCHVIDEO_EPS:g} to the variance, not {CAFFE2_EPS:g}"
            )
        }
    )


def _card(
    name: str,
    summary: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> ModelCard:
    published = find_weights(name, "kinetics400")
    return ModelCard(
        name=name,
        clip_frames=32,
        rate_hz=30 / 2,
        crop_px=CROP_PX,
        short_side_px=256,
        mean=mean,
        std=std,
        summary=summary,
        paper=(
            "Video Classification with Channel-Separated Convolutional Networks, arXiv:1904.02811"
        ),
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


# mmaction2 gives them for pixels from 0 to 255: 110.2008, 100.63983, 95.99475 and 58.14765,
# 56.46975, 55.332195.
_SCRATCH_MEAN = (0.43216, 0.394666, 0.37645)
_SCRATCH_STD = (0.22803, 0.22145, 0.216989)


@register_model(
    _card(
        "ir_csn_101",
        "ir-CSN-101 32x2: depthwise 3x3x3 kernels in a ResNet",
        (0.45, 0.45, 0.45),
        (0.225, 0.225, 0.225),
    )
)
def ir_csn_101(num_classes: int = 400, dropout: float = 0.5) -> CSN:
    """ir-CSN-101: 32 frames, every second of a video of 30 frames/s."""
    return PyTorchVideoCSN(101, num_classes, dropout)


@register_model(
    _card(
        "ir_csn_152",
        "ir-CSN-152 32x2: depthwise 3x3x3 kernels, deeper",
        _SCRATCH_MEAN,
        _SCRATCH_STD,
    )
)
def ir_csn_152(num_classes: int = 400, dropout: float = 0.5) -> CSN:
    """ir-CSN-152: 32 frames, every second of a video of 30 frames/s."""
    return Caffe2CSN(152, "reduced", num_classes=num_classes, dropout=dropout)


@register_model(
    _card(
        "ip_csn_152",
        "ip-CSN-152 32x2: a pointwise convolution before each depthwise one",
        _SCRATCH_MEAN,
        _SCRATCH_STD,
    )
)
def ip_csn_152(num_classes: int = 400, dropout: float = 0.5) -> CSN:
    """ip-CSN-152: 32 frames, every second of a video of 30 frames/s."""
    return Caffe2CSN(152, "preserved", num_classes=num_classes, dropout=dropout)
