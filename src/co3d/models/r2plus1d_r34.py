"""R(2+1)D-34 as mmaction2 builds it (`ResNet2Plus1d`; Tran et al. 2018, arXiv:1711.11248).

Unlike torchvision's of 18 layers, its stem pools, each convolution has an inner width of its own,
its shortcuts are factorised too, and its norms differ in what they add to the variance.
"""

import dataclasses

from torch import nn

from co3d.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from co3d.models.r2plus1d import FactorisedConv
from co3d.models.registry import register_model
from co3d.models.residual import Shortcut
from co3d.models.resnet3d import count_blocks
from co3d.models.video_resnet import STEM_CHANNELS, BasicBlock, Stem, VideoResNet, make_card

OUTER_EPS = 1e-3
"""What the norms of blocks, shortcuts and stem add to the variance; those between add 1e-5."""


class R2Plus1D34(VideoResNet):
    """R(2+1)D-34: clip (N, 3, T, H, W), any T >= 1, H and W >= 32 -> logits (N, K).

    Args:
        num_classes, dropout: see `VideoResNet`.
    """

    min_side_px = 32

    def __init__(self, num_classes: int = 400, dropout: float = 0.5) -> None:
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        stem = Stem(_factorise(3, STEM_CHANNELS, 7, stride_s=2, stride_t=1), pool)
        super().__init__(stem, 4 * [_make_block], num_classes, dropout, count_blocks(34, (34,)))
        between = {module.norm for module in self.modules() if isinstance(module, FactorisedConv)}
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d) and module not in between:
                module.eps = OUTER_EPS


def _factorise(
    in_channels: int, channels: int, kernel_s: int, stride_s: int, stride_t: int, kernel_t: int = 3
) -> FactorisedConv:
    """A factorised convolution, as wide between as keeps the number of parameters (kernel 3)."""
    area = kernel_s**2
    inner = 3 * in_channels * channels * area // (in_channels * area + 3 * channels)
    return FactorisedConv(in_channels, inner, channels, kernel_s, stride_s, stride_t, kernel_t)


def _make_block(in_channels: int, channels: int, stride: int) -> BasicBlock:
    shortcut = (
        nn.Identity()
        if stride == 1
        else Shortcut(_factorise(in_channels, channels, 1, stride, stride, kernel_t=1), channels)
    )
    return BasicBlock(
        _factorise(in_channels, channels, 3, stride, stride),
        _factorise(channels, channels, 3, 1, 1),
        channels,
        shortcut,
    )


def _card(name: str, clip_frames: int, interval: int) -> ModelCard:
    return dataclasses.replace(
        make_card(name, f"R(2+1)D-34 {clip_frames}x{interval} of mmaction2: factorised throughout"),
        clip_frames=clip_frames,
        rate_hz=30 / interval,
        crop_px=224,
        short_side_px=256,
        resize_px=None,
        antialias=True,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


@register_model(_card("r2plus1d_r34_8x8", 8, 8))
def r2plus1d_r34_8x8(num_classes: int = 400, dropout: float = 0.5) -> R2Plus1D34:
    """R(2+1)D-34 8×8: 8 frames of 224 px, every eighth of a video of 30 frames/s."""
    return R2Plus1D34(num_classes, dropout)


@register_model(_card("r2plus1d_r34_32x2", 32, 2))
def r2plus1d_r34_32x2(num_classes: int = 400, dropout: float = 0.5) -> R2Plus1D34:
    """R(2+1)D-34 32×2: 32 frames of 224 px, every second of a video of 30 frames/s."""
    return R2Plus1D34(num_classes, dropout)
