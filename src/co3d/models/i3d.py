"""I3D, an image network inflated in time (Carreira & Zisserman 2017, arXiv:1705.07750).

The ResNet form of Wang et al. 2018, arXiv:1711.07971, table 1: temporal kernels in every other
block, and a temporal max pool after res2. The stem of mmaction2's also halves time, twice.
"""

import dataclasses
import math
from types import MappingProxyType

from torch import Tensor, nn

from co3d.models.card import IMAGENET_MEAN, IMAGENET_STD
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

    Frames larger than the training crop leave a grid of positions in the head; the output is then
    the logarithm of their mean probability.

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
    stem_stride_t = 1
    pool_side: int | None = math.ceil(CROP_PX / SPATIAL_STRIDE)
    kernels_t = KERNELS_T
    join: Join = "probabilities"
    refused_formats = MappingProxyType(
        {"mmaction2 ResNet3d": "the stem of mmaction2's I3D halves time twice, this one's does not"}
    )

    def __init__(self, depth: int = 50, num_classes: int = 400, dropout: float = 0.5) -> None:
        super().__init__()
        self.trunk = Trunk(
            depth, self.stem_kernel_t, self.kernels_t, stem_stride_t=self.stem_stride_t
        )
        self.pool = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        channels, side = self.trunk.out_channels, self.pool_side
        self.head = SlidingHead(channels, side, num_classes, dropout, self.join)
        initialise(self, branch_ends(self))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        trunk = self.trunk
        x = self.pool(trunk.res2(trunk.stem(clip)))
        return self.head(trunk.res5(trunk.res4(trunk.res3(x))))


class I3D32x2(I3D):
    """The I3D of mmaction2, T >= 5: its stem halves time twice, and its head averages all of space.

    Args:
        depth, num_classes, dropout: as for `I3D`.
    """

    min_frames = 5
    stem_stride_t = 2
    pool_side = None
    join: Join = "logits"
    refused_formats = MappingProxyType(
        dict.fromkeys(
            ("PyTorchVideo I3D or C2D", "PySlowFast ResNet", "Caffe2 ResNet"),
            "the stem of mmaction2's I3D halves time twice, that of this file's does not",
        )
    )


I3D_R50_32X2_CARD = dataclasses.replace(
    make_card(
        "i3d_r50_32x2",
        "I3D R50 32x2: an inflated ResNet that divides time by eight",
        I3D_R50_CARD.paper,
    ),
    clip_frames=32,
    rate_hz=30 / 2,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)


@register_model(I3D_R50_32X2_CARD)
def i3d_r50_32x2(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> I3D:
    """I3D R50 32×2: 32 frames, every second of a video of 30 frames/s; `depth` 101 by parameter."""
    return I3D32x2(depth, num_classes, dropout)


@register_model(I3D_R50_CARD)
def i3d_r50(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> I3D:
    """I3D R50 8×8: 8 frames, every eighth of a video of 30 frames/s; `depth` 101 by parameter."""
    return I3D(depth, num_classes, dropout)
