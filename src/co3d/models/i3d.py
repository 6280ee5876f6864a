"""I3D, an image network inflated in time (Carreira & Zisserman 2017, arXiv:1705.07750).

The ResNet form of Wang et al. 2018, arXiv:1711.07971, table 1: temporal kernels in every other
block, and a temporal max pool after res2. No convolution has a temporal stride.
"""

import math

from torch import Tensor, nn

from co3d.models.card import ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.head import SlidingHead
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.models.resnet3d import SPATIAL_STRIDE, KernelsT, Trunk, branch_ends
from co3d.weights.catalogue import find_weights

STEM_KERNEL_T = 5
KERNELS_T: KernelsT = ((3,), (3, 1), (3, 1), (1, 3))
CROP_PX = 224

_PUBLISHED = find_weights("i3d_r50", "kinetics400")

I3D_R50_CARD = ModelCard(
    name="i3d_r50",
    clip_frames=8,
    rate_hz=30 / 8,
    crop_px=CROP_PX,
    short_side_px=256,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    summary="I3D R50 8x8: an inflated ResNet that halves time after its first stage",
    paper=(
        "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, arXiv:1705.07750; "
        "Non-local Neural Networks, arXiv:1711.07971"
    ),
    licence=_PUBLISHED.licence,
    published_accuracy=_PUBLISHED.accuracy,
    classifier="head.classifier",
)


class I3D(ClipModel):
    """An inflated ResNet: clip (N, 3, T, H, W), any T >= 2, H and W >= 32 -> logits (N, K).

    Frames larger than the training crop leave the head a grid of positions; the output is then the
    logarithm of their mean probability.

    Args:
        depth: 50 or 101 layers.
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.

    Raises:
        OptionError: no ResNet has this depth.
        InputShapeError: from `forward`, for a clip of another rank or channel count, or a smaller
            one.
    """

    min_side_px = SPATIAL_STRIDE
    min_frames = 2

    def __init__(self, depth: int = 50, num_classes: int = 400, dropout: float = 0.5) -> None:
        super().__init__()
        self.trunk = Trunk(depth, STEM_KERNEL_T, KERNELS_T)
        self.pool = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        pool_side = math.ceil(CROP_PX / SPATIAL_STRIDE)
        self.head = SlidingHead(
            self.trunk.out_channels, pool_side, num_classes, dropout, "probabilities"
        )
        initialise(self, branch_ends(self))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        trunk = self.trunk
        x = self.pool(trunk.res2(trunk.stem(clip)))
        return self.head(trunk.res5(trunk.res4(trunk.res3(x))))


@register_model(I3D_R50_CARD)
def i3d_r50(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> I3D:
    """I3D R50 8×8: 8 frames, every eighth of a video of 30 frames/s; `depth` 101 by parameter."""
    return I3D(depth, num_classes, dropout)
