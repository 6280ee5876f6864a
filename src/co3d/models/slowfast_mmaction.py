"""SlowFast as mmaction2 builds it (`ResNet3dSlowFast`, `SlowFastHead`).

Its slow pathway takes every `alpha`-th frame, most of its lateral connections have neither norm nor
ReLU, and its head takes the fast pathway's features before the slow ones.
"""

import dataclasses
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from co3d.models.card import IMAGENET_MEAN, IMAGENET_STD
from co3d.models.head import Join
from co3d.models.registry import register_model
from co3d.models.slowfast import SlowFast, make_card


class Sampling(NamedTuple):
    """How many frames are slow, and how the fast ones join them.

    Attributes:
        alpha: fast frames per slow frame.
        fusion_kernel_t: temporal kernel of the lateral connections.
    """

    alpha: int
    fusion_kernel_t: int


_4X16, _8X8 = Sampling(8, 5), Sampling(4, 7)


class StridedSlowFast(SlowFast):
    """SlowFast with strided slow frames: clip (N, 3, T, H, W), H, W >= 32 -> logits (N, K).

    Each pathway's features are averaged over all of space and time, whatever the size of the
    frames. Steps equal the clip network exactly, since a stream can take every `alpha`-th frame.

    Args:
        alpha, fusion_kernel_t, depth, num_classes, dropout, fast_depth, has_fusion_norm: see
            `SlowFast`.
    """

    pool_side = None
    join: Join = "logits"
    refused_formats = MappingProxyType(
        dict.fromkeys(
            ("PySlowFast SlowFast", "PyTorchVideo SlowFast", "Caffe2 SlowFast"),
            "this network is mmaction2's: its slow pathway takes every alpha-th frame, and its "
            "head the fast pathway first; that of this file takes frames from the first to the "
            "last, and the slow pathway first",
        )
    )

    def pick_slow(self, clip: Tensor) -> Tensor:
        """Every `alpha`-th frame of a clip, from the first on."""
        return clip[:, :, :: self.alpha]

    def classify(self, slow: Tensor, fast: Tensor) -> Tensor:
        """The last maps of both pathways -> logits (N, K)."""
        return self.head(fast, slow)


def _register(
    name: str, layout: str, sampling: Sampling, depths: tuple[int, int], *, has_fusion_norm: bool
) -> None:
    """Register one of mmaction2's networks.

    Args:
        name: in the registry. layout: its depth and sampling, for the list of models.
        sampling: how the slow frames are taken. depths: layers of the slow and the fast pathway.
        has_fusion_norm: see `SlowFast`.
    """
    summary = f"SlowFast {layout} of mmaction2: slow frames are every {sampling.alpha}th one"
    card = make_card(name, summary)
    card = dataclasses.replace(card, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    @register_model(card)
    def build(num_classes: int = 400, dropout: float = 0.5) -> StridedSlowFast:
        return StridedSlowFast(
            sampling.alpha,
            sampling.fusion_kernel_t,
            depths[0],
            num_classes,
            dropout,
            depths[1],
            has_fusion_norm=has_fusion_norm,
        )


for _name, _layout, _sampling, _depths, _has_norm in (
    ("slowfast_r50_4x16_mmaction", "R50 4x16", _4X16, (50, 50), False),
    ("slowfast_r50_8x8_mmaction", "R50 8x8", _8X8, (50, 50), False),
    ("slowfast_r50_8x8_steplr_mmaction", "R50 8x8 steplr", _8X8, (50, 50), True),
    ("slowfast_r101_8x8_mmaction", "R101 8x8", _8X8, (101, 101), False),
    ("slowfast_r101_r50_4x16_mmaction", "R101 + R50 4x16", _4X16, (101, 50), False),
):
    _register(_name, _layout, _sampling, _depths, has_fusion_norm=_has_norm)
