"""Slow, SlowFast's slow pathway alone (Feichtenhofer et al. 2019, arXiv:1812.03982).

It takes few frames far apart; only its deeper half, res4 and res5, has temporal kernels.
"""

import math

from torch import Tensor

from co3d.models.clip_model import ClipModel
from co3d.models.head import SlidingHead
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.models.resnet3d import CROP_PX, SPATIAL_STRIDE, KernelsT, Trunk, branch_ends, make_card

STEM_KERNEL_T = 1
KERNELS_T: KernelsT = ((1,), (1,), (3,), (3,))

SLOW_R50_CARD = make_card(
    "slow_r50",
    "Slow R50 8x8: a ResNet that looks along time only where its maps are small",
    "SlowFast Networks for Video Recognition, arXiv:1812.03982",
)


class Slow(ClipModel):
    """The slow pathway: clip (N, 3, T, H, W), any T >= 1, H and W >= 32 -> logits (N, K).

    Frames larger than the training crop leave a grid of positions in the head, whose logits are
    averaged, as PyTorchVideo does.

    Args:
        depth: 50 or 101 layers.
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.

    Raises:
        OptionError: no ResNet has this depth.
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(self, depth: int = 50, num_classes: int = 400, dropout: float = 0.5) -> None:
        super().__init__()
        self.trunk = Trunk(depth, STEM_KERNEL_T, KERNELS_T)
        pool_side = math.ceil(CROP_PX / SPATIAL_STRIDE)
        self.head = SlidingHead(self.trunk.out_channels, pool_side, num_classes, dropout, "logits")
        initialise(self, branch_ends(self))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        return self.head(self.trunk(clip))


@register_model(SLOW_R50_CARD)
def slow_r50(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> Slow:
    """Slow R50 8×8: 8 frames, every eighth of a video of 30 frames/s; `depth` 101 by parameter."""
    return Slow(depth, num_classes, dropout)
