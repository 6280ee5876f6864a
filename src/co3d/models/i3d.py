"""I3D, an image network inflated in time (Carreira & Zisserman 2017, arXiv:1705.07750).

The ResNet form of Wang et al. 2018, arXiv:1711.07971, table 1: temporal kernels in every other
block, and a temporal max pool after res2. No convolution has a temporal stride.
"""

import math
from types import MappingProxyType

from torch import Tensor, nn

from co3d.models.clip_model import ClipModel
from co3d.models.head import Join, SlidingHead
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.models.resnet3d import CROP_PX, SPATIAL_STRIDE, KernelsT, Trunk, branch_ends, make_card

STEM_KERNEL_T = 5
KERNELS_T: KernelsT = ((3,), (3, 1), (3, 1), (1, 3))

I3D_R50_CARD = make_card(
    "i3d_r50",
    "I3D R50 8x8: an inflated ResNet that halves time after its first stage",
    (
        "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset, arXiv:1705.07750; "
        "Non-local Neural Networks, arXiv:1711.07971"
    ),
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
    stem_kernel_t = STEM_KERNEL_T
    kernels_t = KERNELS_T
    join: Join = "probabilities"
    refused_formats = MappingProxyType(
        {"mmaction2 ResNet3d": "the stem of mmaction2's I3D halves time twice, this one's does not"}
    )

    def __init__(self, depth: int = 50, num_classes: int = 400, dropout: float = 0.5) -> None:
        super().__init__()
        self.trunk = Trunk(depth, self.stem_kernel_t, self.kernels_t)
        self.pool = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        pool_side = math.ceil(CROP_PX / SPATIAL_STRIDE)
        self.head = SlidingHead(self.trunk.out_channels, pool_side, num_classes, dropout, self.join)
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
