"""SlowFast, two pathways at two frame rates (Feichtenhofer et al. 2019, arXiv:1812.03982).

The fast pathway sees every frame with an eighth of the channels; the slow one sees every
`alpha`-th or so, and takes the fast features in before each of its stages.
"""

import math

import torch
from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.head import SlidingHead
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

    The clip is what the fast pathway sees; the slow pathway's frames are picked from it. Frames
    larger than the training crop leave the head a grid of positions; the output is then the
    logarithm of their mean probability.

    Args:
        alpha: fast frames per slow frame.
        fusion_kernel_t: temporal kernel of the lateral connections.
        depth: 50 or 101 layers.
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.

    Raises:
        OptionError: no ResNet has this depth.
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(
        self,
        alpha: int,
        fusion_kernel_t: int,
        depth: int = 50,
        num_classes: int = 400,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        width = FAST_WIDTH
        fast_channels = (width, width * EXPANSION, 2 * width * EXPANSION, 4 * width * EXPANSION)
        fuses = [Fusion(channels, alpha, fusion_kernel_t) for channels in fast_channels]
        fused_channels = (
            fuses[0].channels,
            fuses[1].channels,
            fuses[2].channels,
            fuses[3].channels,
        )
        self.slow = Trunk(depth, SLOW_STEM_KERNEL_T, SLOW_KERNELS_T, fused_channels=fused_channels)
        self.fast = Trunk(depth, FAST_STEM_KERNEL_T, FAST_KERNELS_T, width)
        self.fuse1, self.fuse2, self.fuse3, self.fuse4 = fuses
        self.head = SlidingHead(
            self.slow.out_channels + self.fast.out_channels,
            math.ceil(CROP_PX / SPATIAL_STRIDE),
            num_classes,
            dropout,
            "probabilities",
        )
        initialise(self, branch_ends(self))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        picked = torch.tensor(pick_slow_frames(clip.shape[2], self.alpha), device=clip.device)
        slow, fast = self.slow.stem(clip.index_select(2, picked)), self.fast.stem(clip)
        slow, fast = self.slow.res2(self.fuse1(slow, fast)), self.fast.res2(fast)
        slow, fast = self.slow.res3(self.fuse2(slow, fast)), self.fast.res3(fast)
        slow, fast = self.slow.res4(self.fuse3(slow, fast)), self.fast.res4(fast)
        slow, fast = self.slow.res5(self.fuse4(slow, fast)), self.fast.res5(fast)
        return self.head(slow, fast)


class Fusion(nn.Module):
    """Lateral connection: fast features, strided in time, behind the slow ones."""

    def __init__(self, fast_channels: int, alpha: int, kernel_t: int) -> None:
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
        self.norm = nn.BatchNorm3d(self.channels)

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """(N, C, T/alpha, H, W) and (N, `fast_channels`, T, H, W) -> (N, C + `channels`, ...)."""
        return torch.cat((slow, torch.relu(self.norm(self.conv(fast)))), 1)


def pick_slow_frames(frames: int, alpha: int) -> list[int]:
    """Indices of the slow pathway's frames: evenly from the first to the last, rounded down.

    That is what the published networks were trained with (PySlowFast, `pack_pathway_output`), and
    no stride: 32 frames at alpha 8 give 0, 10, 20, 31. Where `alpha` does not divide `frames` the
    count is rounded up, to that of the strided lateral connections.
    """
    count = math.ceil(frames / alpha)
    return [index * (frames - 1) // max(count - 1, 1) for index in range(count)]


def _card(name: str, slow_sampling: str) -> ModelCard:
    published = find_weights(name, "kinetics400")
    return ModelCard(
        name=name,
        clip_frames=32,
        rate_hz=30 / 2,
        crop_px=CROP_PX,
        short_side_px=256,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        summary=f"SlowFast R50 {slow_sampling}: appearance from few frames, motion from all",
        paper="SlowFast Networks for Video Recognition, arXiv:1812.03982",
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


@register_model(_card("slowfast_r50_4x16", "4x16"))
def slowfast_r50_4x16(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> SlowFast:
    """SlowFast R50 4×16: 32 frames, 4 of them slow; `depth` 101 by parameter."""
    return SlowFast(8, 5, depth, num_classes, dropout)


@register_model(_card("slowfast_r50_8x8", "8x8"))
def slowfast_r50_8x8(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> SlowFast:
    """SlowFast R50 8×8: 32 frames, 8 of them slow; `depth` 101 by parameter."""
    return SlowFast(4, 7, depth, num_classes, dropout)
