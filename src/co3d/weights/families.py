"""Whose checkpoint a file is, told by its keys: for advice on files that are not read."""

import re
from collections.abc import Collection

_FAMILIES = {
    "PySlowFast": r"s[1-5]\.(pathway\d|fuse)",
    "PyTorchVideo": r"blocks\.\d+\.(res_blocks|multipathway|conv|norm|proj|pool|output_pool)\b",
    "mmaction2": r"(backbone\.(layer\d|conv1|stem|slow_path|fast_path|conv1_s)\b|cls_head\.)",
    "torchvision's VideoResNet (r3d_18, mc3_18, r2plus1d_18)": r"layer\d\.\d\.conv\d\.\d+",
    "torchvision's or timm's ResNet (2-D)": r"layer\d\.\d\.(conv\d\.weight|bn\d\.)",
    "Inception I3D": r"(Mixed_\d[a-f]|Conv3d_\d[a-c]_\dx\d)\.",
    "MoViNet": r"(blocks\.b\d+_l\d+|classifier\.\d+\.conv_1|conv_layer\.)",
    "TSM": r"(base_model|new_fc)\.",
    "VideoMAE or another vision transformer": r"(encoder\.)?blocks\.\d+\.(attn|mlp)\.",
    "Hugging Face's transformers": r"(videomae|timesformer|vivit|vjepa2)\.",
    "Video Swin": r"(backbone\.)?layers\.\d\.blocks\.\d+\.(attn|mlp)\.",
    "Caffe2": r"(t_)?(res\d_\d+_branch\d|conv1_w)",
}
FEWEST = 0.25
"""Share of the keys that must be like a family's."""


def name_family(keys: Collection[str]) -> str | None:
    """The library or network whose files have keys like most of these; None if none is known."""
    counts = {
        family: sum(re.search(rf"(^|\.){pattern}", key) is not None for key in keys)
        for family, pattern in _FAMILIES.items()
    }
    best = max(counts, key=lambda family: counts[family])
    return best if counts[best] and counts[best] >= FEWEST * len(keys) else None
