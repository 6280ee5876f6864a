"""Keys of the checkpoints that PyTorchVideo publishes."""

import re

from co3d.weights.key_tables import BOTTLENECK, MOBILE, SEPARATED, KeyTable, name_layers

_LAYERS = (
    ("branch1_conv", "branch1_norm"),
    *((f"branch2.conv_{letter}", f"branch2.norm_{letter}") for letter in "abc"),
)
_BLOCK = re.compile(r"blocks\.(\d)\.res_blocks\.(\d+)\.(.+)")

PYTORCHVIDEO_SLOW = KeyTable(
    ends={
        "blocks.0.conv": "trunk.stem.conv",
        "blocks.0.norm": "trunk.stem.norm",
        "blocks.5.proj": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"trunk.res{stage + 1}.{index}",
    inside=name_layers(_LAYERS, BOTTLENECK),
)

# I3D and C2D have a numbered pool after the first stage.
_POOLED = {1: 2, 3: 3, 4: 4, 5: 5}
PYTORCHVIDEO_POOLED = KeyTable(
    ends={
        "blocks.0.conv": "trunk.stem.conv",
        "blocks.0.norm": "trunk.stem.norm",
        "blocks.6.proj": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"trunk.res{_POOLED[stage]}.{index}" if stage in _POOLED else None,
    inside=name_layers(_LAYERS, BOTTLENECK),
)

PYTORCHVIDEO_CSN = KeyTable(
    ends={
        "blocks.0.conv": "stem.conv",
        "blocks.0.norm": "stem.norm",
        "blocks.5.proj": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"stages.{stage - 1}.{index}",
    inside=name_layers(_LAYERS, SEPARATED),
)

# The second convolution is factorised, with a norm between its parts.
_FACTORISED = (
    ("branch2.conv_b.conv_t", "branch2.conv_b.norm"),
    ("branch2.conv_b.conv_xy", "branch2.norm_b"),
)
PYTORCHVIDEO_R2PLUS1D = KeyTable(
    ends=PYTORCHVIDEO_CSN.ends,
    block=_BLOCK,
    place=PYTORCHVIDEO_CSN.place,
    inside=name_layers(
        (*_LAYERS[:2], *_FACTORISED, _LAYERS[3]),
        (*BOTTLENECK[:2], ("temporal", "temporal_norm"), *BOTTLENECK[2:]),
    ),
)

_PATHWAYS = ("slow", "fast")
PYTORCHVIDEO_SLOWFAST = KeyTable(
    ends={
        **{
            f"blocks.0.multipathway_blocks.{index}.{part}": f"{pathway}.stem.{part}"
            for index, pathway in enumerate(_PATHWAYS)
            for part in ("conv", "norm")
        },
        **{
            f"blocks.{stage}.multipathway_fusion.{theirs}": f"fuse{stage + 1}.{ours}"
            for stage in range(4)
            for theirs, ours in (("conv_fast_to_slow", "conv"), ("norm", "norm"))
        },
        "blocks.6.proj": "head.classifier",
    },
    block=re.compile(r"blocks\.(\d)\.multipathway_blocks\.([01])\.res_blocks\.(\d+)\.(.+)"),
    place=lambda stage, pathway, index: f"{_PATHWAYS[pathway]}.res{stage + 1}.{index}",
    inside=name_layers(_LAYERS, BOTTLENECK),
)

PYTORCHVIDEO_X3D = KeyTable(
    ends={
        "blocks.0.conv.conv_t": "stem.conv_s",  # the spatial convolution, in spite of its name
        "blocks.0.conv.conv_xy": "stem.conv_t",
        "blocks.0.norm": "stem.norm",
        "blocks.5.pool.pre_conv": "head.expand",
        "blocks.5.pool.pre_norm": "head.expand_norm",
        "blocks.5.pool.post_conv": "head.hidden",
        "blocks.5.proj": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"stages.{stage - 1}.{index}",
    inside={
        **name_layers(_LAYERS, MOBILE),
        "branch2.norm_b.0": "depthwise_norm",
        "branch2.norm_b.1.block.0": "excite.reduce",
        "branch2.norm_b.1.block.2": "excite.restore",
    },
)
