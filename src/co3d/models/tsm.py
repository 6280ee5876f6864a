"""TSM, 2-D networks that shift channels along time (Lin et al. 2019, arXiv:1811.08383).

The published networks take eight frames, every eighth of a video of 30 frames/s. A step treats
consecutive input frames as neighbours, so feed it at that rate. The networks for clips shift in
both directions: each shift waits for the next frame, so a stream's result equals the clip's with a
delay of as many frames as there are shifts (16 in the ResNet, 10 in MobileNetV2). The online
network only shifts from the past, as its authors run it, and has no delay.
"""

from torch import Tensor, nn

from co3d.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from co3d.models.clip_model import ClipModel
from co3d.models.head import SlidingHead
from co3d.models.mobilenet_v2 import MobileNetV2
from co3d.models.registry import register_model
from co3d.models.residual import initialise
from co3d.models.resnet3d import CROP_PX, SPATIAL_STRIDE, Bottleneck, KernelsT, Trunk
from co3d.models.temporal_shift import ShiftedConv
from co3d.weights.catalogue import find_weights

KERNELS_T: KernelsT = ((1,), (1,), (1,), (1,))


class TSM(ClipModel):
    """A 2-D network with shifts: clip (N, 3, T, H, W), T >= 1, H, W >= 32 -> logits (N, K).

    Each frame's map is averaged and classified, and the logits of all frames are averaged.

    Args:
        backbone: clip (N, 3, T, H, W) -> maps (N, C, T, H/32, W/32).
        channels: C.
        num_classes: K.
        dropout: probability of dropping a pooled feature before the classifier, in training.

    Raises:
        InputShapeError: from `forward`, for a clip of another rank, channel count or smaller size.
    """

    min_side_px = SPATIAL_STRIDE

    def __init__(
        self, backbone: nn.Module, channels: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = SlidingHead(channels, None, num_classes, dropout, "logits")
        initialise(self, branch_ends=())

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        self.check_clip(clip)
        return self.head(self.backbone(clip))


def _card(name: str, tag: str, summary: str, rate_hz: float = 30 / 8) -> ModelCard:
    published = find_weights(name, tag)
    return ModelCard(
        name=name,
        clip_frames=8,
        rate_hz=rate_hz,
        crop_px=CROP_PX,
        short_side_px=256,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        summary=summary,
        paper="TSM: Temporal Shift Module for Efficient Video Understanding, arXiv:1811.08383",
        licence=published.licence,
        published_accuracy=published.accuracy,
        classifier="head.classifier",
    )


@register_model(
    _card("tsm_r50", "kinetics400", "TSM R50: a ResNet of pictures that shifts channels both ways")
)
def tsm_r50(num_classes: int = 400, dropout: float = 0.5) -> TSM:
    """TSM R50: 8 frames, every eighth of 30 a second; a shift in each of its 16 blocks."""
    trunk = Trunk(50, 1, KERNELS_T)
    for module in trunk.modules():
        if isinstance(module, Bottleneck):
            module.reduce = ShiftedConv(module.reduce.in_channels, module.reduce.out_channels)
    return TSM(trunk, trunk.out_channels, num_classes, dropout)


@register_model(
    _card("tsm_mobilenet_v2", "kinetics400", "TSM MobileNetV2: ten shifts both ways, mobile-sized")
)
def tsm_mobilenet_v2(num_classes: int = 400, dropout: float = 0.5) -> TSM:
    """TSM MobileNetV2: 8 frames, every eighth of 30 a second; a shift in each residual block."""
    backbone = MobileNetV2(online=False)
    return TSM(backbone, backbone.channels, num_classes, dropout)


@register_model(
    _card(
        "tsm_mobilenet_v2_online",
        "jester27",
        "online TSM MobileNetV2: shifts from the past alone, no delay",
        rate_hz=15,
    )
)
def tsm_mobilenet_v2_online(num_classes: int = 27, dropout: float = 0.5) -> TSM:
    """Online TSM MobileNetV2: every second frame of a camera of 30 frames/s."""
    backbone = MobileNetV2(online=True)
    return TSM(backbone, backbone.channels, num_classes, dropout)
