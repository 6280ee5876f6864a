"""C2D, a 2-D ResNet that only pools along time (Wang et al. 2018, arXiv:1711.07971).

I3D without temporal kernels: the baseline of that paper.
"""

from types import MappingProxyType

from co3d.models.head import Join
from co3d.models.i3d import I3D
from co3d.models.registry import register_model
from co3d.models.resnet3d import KernelsT, make_card

STEM_KERNEL_T = 1
KERNELS_T: KernelsT = ((1,), (1,), (1,), (1,))

C2D_R50_CARD = make_card(
    "c2d_r50",
    "C2D R50 8x8: a ResNet of pictures that pools two frames after its first stage",
    "Non-local Neural Networks, arXiv:1711.07971",
)


class C2D(I3D):
    """A ResNet with one temporal pool: clip (N, 3, T, H, W), T >= 2, H, W >= 32 -> logits (N, K).

    Args:
        depth, num_classes, dropout: see `I3D`.
    """

    stem_kernel_t = STEM_KERNEL_T
    kernels_t = KERNELS_T
    join: Join = "logits"
    refused_formats = MappingProxyType(
        {
            "mmaction2 ResNet3d": (
                "mmaction2's C2D pools without a border in space, so that its maps are smaller"
            )
        }
    )


@register_model(C2D_R50_CARD)
def c2d_r50(num_classes: int = 400, dropout: float = 0.5, depth: int = 50) -> C2D:
    """C2D R50 8×8: 8 frames, every eighth of a video of 30 frames/s; `depth` 101 by parameter."""
    return C2D(depth, num_classes, dropout)
