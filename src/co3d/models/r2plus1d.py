"""R(2+1)D, 3-D convolutions factorised in space and time (Tran et al. 2018, arXiv:1711.11248).

Each 3×3×3 convolution is replaced by a spatial one, a norm, a ReLU and a temporal one, with as many
channels in between as give both together the original number of parameters. Time and space are
halved three times.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from co3d.models.registry import register_model
from co3d.models.residual import make_shortcut
from co3d.models.video_resnet import STEM_CHANNELS, BasicBlock, Stem, VideoResNet, make_card

STEM_INNER = 45


class R2Plus1D(VideoResNet):
    """R(2+1)D-18: clip (N, 3, T, H, W), any T >= 1, H and W >= 16 -> logits (N, K).

    Args:
        num_classes, dropout: see `VideoResNet`.
    """

    def __init__(self, num_classes: int = 400, dropout: float = 0.0) -> None:
        conv = FactorisedConv(3, STEM_INNER, STEM_CHANNELS, 7, stride_s=2, stride_t=1)
        super().__init__(Stem(conv), 4 * [_make_block], num_classes, dropout)


class FactorisedConv(nn.Module):
    """Spatial convolution, norm, ReLU, temporal convolution; both carry the stride.

    Args:
        in_channels, inner, channels: before, between and after the two convolutions.
        kernel_s, stride_s: side and stride of the spatial one.
        stride_t, kernel_t: stride and kernel of the temporal one.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        channels: int,
        kernel_s: int,
        stride_s: int,
        stride_t: int,
        kernel_t: int = 3,
    ) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(
            in_channels,
            inner,
            (1, kernel_s, kernel_s),
            (1, stride_s, stride_s),
            (0, kernel_s // 2, kernel_s // 2),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(inner)
        self.temporal = nn.Conv3d(
            inner,
            channels,
            (kernel_t, 1, 1),
            (stride_t, 1, 1),
            (kernel_t // 2, 0, 0),
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, `channels`, ...), divided by the strides and rounded up."""
        return self.temporal(F.relu(self.norm(self.spatial(x))))


def _make_block(in_channels: int, channels: int, stride: int) -> BasicBlock:
    # Both convolutions of a block have the inner width computed for the first one.
    inner = in_channels * channels * 27 // (in_channels * 9 + 3 * channels)
    return BasicBlock(
        FactorisedConv(in_channels, inner, channels, 3, stride, stride),
        FactorisedConv(channels, inner, channels, 3, 1, 1),
        channels,
        make_shortcut(in_channels, channels, (stride, stride, stride)),
    )


@register_model(
    make_card("r2plus1d_18", "R(2+1)D-18: a ResNet whose convolutions are spatial, then temporal")
)
def r2plus1d_18(num_classes: int = 400, dropout: float = 0.0) -> R2Plus1D:
    """R(2+1)D-18: 16 frames of 112 px."""
    return R2Plus1D(num_classes, dropout)
