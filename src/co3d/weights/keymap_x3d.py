"""Keys of the X3D checkpoints that PySlowFast publishes."""

import re

_STEM_AND_HEAD = {
    "s1.pathway0_stem.conv_xy": "stem.conv_s",
    "s1.pathway0_stem.conv": "stem.conv_t",
    "s1.pathway0_stem.bn": "stem.norm",
    "head.conv_5": "head.expand",
    "head.conv_5_bn": "head.expand_norm",
    "head.lin_5": "head.hidden",
    "head.projection": "head.classifier",
}
_BLOCK = re.compile(r"s([2-5])\.pathway0_res(\d+)\.(.+)")
_INSIDE_BLOCK = {
    "branch1": "shortcut.conv",
    "branch1_bn": "shortcut.norm",
    "branch2.a": "expand",
    "branch2.a_bn": "expand_norm",
    "branch2.b": "depthwise",
    "branch2.b_bn": "depthwise_norm",
    "branch2.se.fc1": "excite.reduce",
    "branch2.se.fc2": "excite.restore",
    "branch2.c": "project",
    "branch2.c_bn": "project_norm",
}


def rename_pyslowfast_x3d(key: str) -> str | None:
    """Our name for a key of a published X3D file; None for a key that no such file has."""
    module, _, leaf = key.rpartition(".")
    if module in _STEM_AND_HEAD:
        return f"{_STEM_AND_HEAD[module]}.{leaf}"
    block = _BLOCK.fullmatch(module)
    if block and block[3] in _INSIDE_BLOCK:
        return f"stages.{int(block[1]) - 2}.{block[2]}.{_INSIDE_BLOCK[block[3]]}.{leaf}"
    return None
