"""Recognise from its keys whose a checkpoint is, for advice on files that are not supported."""

import re
from collections.abc import Collection

_FAMILIES = {
    "PySlowFast": r"s[1-5]\.(pathway\d|fuse)",
    "PyTorchVideo": r"blocks\.\d+\.(res_blocks|multipathway|conv|norm|proj|pool|output_pool)\b",
    "mmaction2": r"(backbone\.(layer\d|conv1|stem|slow_path|fast_path|conv1_s)\b|cls_head\.)",
    "torchvision's VideoResNet (r3d_18, mc3_18, r2plus1d_18)": r"layer\d\.\d\.conv\d\.\d+",
    "torchvision's or timm's ResNet (2-D)": r"layer\d\.\d\.(conv\d\.weight|bn\d\.)",
    "Inception I3D": r"(Mixed_\d[a-f]|Conv3d_\d[a-c]_\dx\d)\.",
    "TensorFlow's MoViNet": r"(\w+/)*(b\d/l\d+|classifier_head|stem/stem|head/project)/",
    "MoViNet": r"(blocks\.b\d+_l\d+|classifier\.\d+\.conv_1|conv_layer\.)",
    "TSM": r"(base_model|new_fc)\.",
    "VideoMAE or another vision transformer": r"(encoder\.)?blocks\.\d+\.(attn|mlp)\.",
    "Hugging Face's transformers": r"(videomae|timesformer|vivit|vjepa2)\.",
    "Video Swin": r"(backbone\.)?layers\.\d\.blocks\.\d+\.(attn|mlp)\.",
    "Caffe2": r"(t_)?(res\d_\d+_branch\d|conv1_w)",
}
# Parts that no network here has, and what they do.
_FOREIGN_PARTS = {
    r"roi_head\.": (
        "its roi_head classifies boxes of a frame, as mmaction2's detectors on AVA do, and "
        "networks here classify whole frames"
    ),
    r"cls_head\.fc[23]d\.": (
        "its cls_head has two classifiers, of pictures and of clips, as mmaction2's OmniSource "
        "has, and networks here have one"
    ),
}
FEWEST = 0.25
"""Share of the keys that must match a family's pattern."""


def name_family(keys: Collection[str]) -> str | None:
    """The library or network that most of these keys match; None if none is known."""
    counts = {
        family: sum(re.search(rf"(^|\.){pattern}", key) is not None for key in keys)
        for family, pattern in _FAMILIES.items()
    }
    best = max(counts, key=lambda family: counts[family])
    return best if counts[best] and counts[best] >= FEWEST * len(keys) else None


def explain_foreign_part(keys: Collection[str]) -> str | None:
    """Why no network here fits a file with these keys; None if no known part tells."""
    for pattern, reason in _FOREIGN_PARTS.items():
        if any(re.search(rf"(^|\.){pattern}", key) for key in keys):
            return reason
    return None
