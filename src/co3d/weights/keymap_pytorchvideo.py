"""Keys of the Slow checkpoints that PyTorchVideo publishes."""

import re

_ENDS = {
    "blocks.0.conv": "trunk.stem.conv",
    "blocks.0.norm": "trunk.stem.norm",
    "blocks.5.proj": "head.classifier",
}
_BLOCK = re.compile(r"blocks\.([1-4])\.res_blocks\.(\d+)\.(.+)")
_INSIDE_BLOCK = {
    "branch1_conv": "shortcut.conv",
    "branch1_norm": "shortcut.norm",
    "branch2.conv_a": "reduce",
    "branch2.norm_a": "reduce_norm",
    "branch2.conv_b": "spatial",
    "branch2.norm_b": "spatial_norm",
    "branch2.conv_c": "expand",
    "branch2.norm_c": "expand_norm",
}


def rename_pytorchvideo_slow(key: str) -> str | None:
    """Our name for a key of a published Slow file; None for a key that no such file has."""
    module, _, leaf = key.rpartition(".")
    if module in _ENDS:
        return f"{_ENDS[module]}.{leaf}"
    block = _BLOCK.fullmatch(module)
    if block and block[3] in _INSIDE_BLOCK:
        return f"trunk.res{int(block[1]) + 1}.{block[2]}.{_INSIDE_BLOCK[block[3]]}.{leaf}"
    return None
