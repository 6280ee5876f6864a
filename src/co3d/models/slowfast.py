"""SlowFast, two pathways at two frame rates (Feichtenhofer et al. 2019, arXiv:1812.03982).

The fast pathway processes every frame with an eighth of the channels; the slow one processes about
every `alpha`-th, and receives the fast features before each of its stages.
"""

import math
from types import MappingProxyType

import torch
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.head import Join, SlidingHead
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.models.resnet3d import CROP_PX, EXPANSION, SPATIAL_STRIDE, KernelsT, Trunk, branch_ends
from co3d.models.slow import KERNELS_T as SLOW_KERNELS_T
from co3d.models.slow import STEM_KERNEL_T as SLOW_STEM_KERNEL_T
from co3d.weights.catalogue import find_weights

FAST_WIDTH = 8  # channels of the fast stem, an eighth of the slow one's
FAST_STEM_KERNEL_T = 5
FAST_KERNELS_T: KernelsT = ((3,), (3,), (3,), (3,))
FUSION_RATIO = 2  # channels of a lateral connection per channel of the fast pathway


class SlowFast(ClipModel):
    """Two pathways: clip (N, 3, T, H, W), any T >= 1, H and W >= 32 -> logits (N, K).

    The clip is the fast pathway's input, from which the slow pathway's frames are picked. Frames
    larger than the training crop leave a grid of positions in the head; the output is then the
    logarithm of their mean probability.

    Args:
        alpha: fast frames per slow frame.
        fusion_kernel_t: temporal kernel of the lateral connections.
        depth: 50 or 101 layers.
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.
        fast_depth: layers of the fast pathway; None for as many as the slow one has.
        has_fusion_norm: whether a norm and a ReLU follow the lateral connections.

    Raises:
        OptionError: no ResNet has this depth.
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE
    pool_side: int | None = math.ceil(CROP_PX / SPATIAL_STRIDE)
    join: Join = "probabilities"
    refused_formats = MappingProxyType(
        {
            "mmaction2 SlowFast": (
                "mmaction2's slow pathway takes every alpha-th frame, and its head the fast "
                "pathway first; this one takes frames from the first to the last, and the slow "
                "pathway first"
            )
        }
    )

    def __init__(
        self,
        alpha: int,
        fusion_kernel_t: int,
        depth: int = 50,
        num_classes: int = 400,
        dropout: float = 0.5,
        fast_depth: int | None = None,
        *,
        has_fusion_norm: bool = True,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        width = FAST_WIDTH
        fast_channels = (width, width * EXPANSION, 2 * width * EXPANSION, 4 * width * EXPANSION)
        fuses = [
            Fusion(channels, alpha, fusion_kernel_t, has_norm=has_fusion_norm)
            for channels in fast_channels
        ]
        fused_channels = (
            fuses[0].channels,
            fuses[1].channels,
            fuses[2].channels,
            fuses[3].channels,
        )
        self.slow = Trunk(depth, SLOW_STEM_KERNEL_T, SLOW_KERNELS_T, fused_channels=fused_channels)
        self.fast = Trunk(fast_depth or depth, FAST_STEM_KERNEL_T, FAST_KERNELS_T, width)
        self.fuse1, self.fuse2, self.fuse3, self.fuse4 = fuses
        self.head = SlidingHead(
            self.slow.out_channels + self.fast.out_channels,
            self.pool_side,
            num_classes,
            dropout,
            self.join,
        )
        initialise(self, branch_ends(self))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        slow, fast = self.slow.stem(self.pick_slow(clip)), self.fast.stem(clip)
        slow, fast = self.slow.res2(self.fuse1(slow, fast)), self.fast.res2(fast)
        slow, fast = self.slow.res3(self.fuse2(slow, fast)), self.fast.res3(fast)
        slow, fast = self.slow.res4(self.fuse3(slow, fast)), self.fast.res4(fast)
        slow, fast = self.slow.res5(self.fuse4(slow, fast)), self.fast.res5(fast)
        return self.classify(slow, fast)

    def pick_slow(self, clip: Tensor) -> Tensor:
        """The slow pathway's frames (N, 3, T/alpha, H, W), rounded up, of a clip."""
        picked = torch.tensor(pick_slow_frames(clip.shape[2], self.alpha), device=clip.device)
        return clip.index_select(2, picked)

    def classify(self, slow: Tensor, fast: Tensor) -> Tensor:
        """The last maps of both pathways -> logits (N, K)."""
        return self.head(slow, fast)


class Fusion(nn.Module):
    """Lateral connection: fast features, strided in time, concatenated to the slow ones.

    Args:
        fast_channels: of the fast pathway. alpha: temporal stride. kernel_t: temporal kernel.
        has_norm: whether a norm and a ReLU follow the convolution.
    """

    def __init__(self, fast_channels: int, alpha: int, kernel_t: int, *, has_norm: bool) -> None:
        super().__init__()
        self.channels = fast_channels * FUSION_RATIO
        self.conv = nn.Conv3d(
            fast_channels,
            self.channels,
            (kernel_t, 1, 1),
            (alpha, 1, 1),
            (kernel_t // 2, 0, 0),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(self.channels) if has_norm else None

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """(N, C, T/alpha, H, W) and (N, `fast_channels`, T, H, W) -> (N, C + `channels`, ...)."""
        lateral = self.conv(fast)
        if self.norm is not None:
            lateral = torch.relu(self.norm(lateral))
        return torch.cat((slow, lateral), 1)


def pick_slow_frames(frames: int, alpha: int) -> list[int]:
    """Indices of the slow pathway's frames: evenly from the first to the last, rounded down.

    The published networks were trained with these frames (PySlowFast, `pack_pathway_output`), not
    with a stride: 32 frames at alpha 8 give 0, 10, 20, 31. If `alpha` does not divide `frames`, the
    number is rounded up, to that of the strided lateral connections.
    """
    count = math.ceil(frames / alpha)
    return [index * (frames - 1) // max(count - 1, 1) for index in range(count)]


def make_card(name: str, summary: str) -> ModelCard:
    """The card of a network for 32 frames, every second of a video of 30 frames/s."""
    published = find_weights(name, "kinetics400")
    return ModelCard(
        name=name,
        clip_frames=32,
        rate_hz=30 / 2,
        crop_px=CROP_PX,
        short_side_px=256,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        summary=summary,
        paper="SlowFast Networks for Video Recognition, arXiv:1812.03982",
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


@register_model(
    make_card("slowfast_r50_4x16", "SlowFast R50 4x16: appearance from few frames, motion from all")
)
def slowfast_r50_4x16(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> SlowFast:
    """SlowFast R50 4×16: 32 frames, 4 of them slow; `depth` 101 by parameter."""
    return SlowFast(8, 5, depth, num_classes, dropout)


@register_model(
    make_card("slowfast_r50_8x8", "SlowFast R50 8x8: appearance from few frames, motion from all")
)
def slowfast_r50_8x8(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> SlowFast:
    """SlowFast R50 8×8: 32 frames, 8 of them slow; `depth` 101 by parameter."""
    return SlowFast(4, 7, depth, num_classes, dropout)
