"""Keys of the checkpoints that PySlowFast writes (`.pyth`)."""

import re

from co3d.weights.key_tables import BOTTLENECK, MOBILE, KeyTable, name_layers

_LAYERS = (
    ("branch1", "branch1_bn"),
    *((f"branch2.{letter}", f"branch2.{letter}_bn") for letter in "abc"),
)
_BLOCK = re.compile(r"s([2-5])\.pathway0_res(\d+)\.(.+)")

PYSLOWFAST_X3D = KeyTable(
    ends={
        "s1.pathway0_stem.conv_xy": "stem.conv_s",
        "s1.pathway0_stem.conv": "stem.conv_t",
        "s1.pathway0_stem.bn": "stem.norm",
        "head.conv_5": "head.expand",
        "head.conv_5_bn": "head.expand_norm",
        "head.lin_5": "head.hidden",
        "head.projection": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"stages.{stage - 2}.{index}",
    inside={
        **name_layers(_LAYERS, MOBILE),
        "branch2.se.fc1": "excite.reduce",
        "branch2.se.fc2": "excite.restore",
    },
)

PYSLOWFAST_RESNET = KeyTable(
    ends={
        "s1.pathway0_stem.conv": "trunk.stem.conv",
        "s1.pathway0_stem.bn": "trunk.stem.norm",
        "head.projection": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"trunk.res{stage}.{index}",
    inside=name_layers(_LAYERS, BOTTLENECK),
)

_PATHWAYS = ("slow", "fast")
PYSLOWFAST_SLOWFAST = KeyTable(
    ends={
        **{
            f"s1.pathway{index}_stem.{theirs}": f"{pathway}.stem.{ours}"
            for index, pathway in enumerate(_PATHWAYS)
            for theirs, ours in (("conv", "conv"), ("bn", "norm"))
        },
        **{
            f"s{stage}_fuse.{theirs}": f"fuse{stage}.{ours}"
            for stage in range(1, 5)
            for theirs, ours in (("conv_f2s", "conv"), ("bn", "norm"))
        },
        "head.projection": "head.classifier",
    },
    block=re.compile(r"s([2-5])\.pathway([01])_res(\d+)\.(.+)"),
    place=lambda stage, pathway, index: f"{_PATHWAYS[pathway]}.res{stage}.{index}",
    inside=name_layers(_LAYERS, BOTTLENECK),
)
