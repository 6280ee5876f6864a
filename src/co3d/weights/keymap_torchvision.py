"""Keys of the R(2+1)D checkpoint that torchvision publishes."""

import re

_ENDS = {
    "stem.0": "stem.conv.spatial",
    "stem.1": "stem.conv.norm",
    "stem.3": "stem.conv.temporal",
    "stem.4": "stem.norm",
    "fc": "classifier",
}
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(.+)")
_INSIDE_BLOCK = {
    "conv1.0.0": "conv1.spatial",
    "conv1.0.1": "conv1.norm",
    "conv1.0.3": "conv1.temporal",
    "conv1.1": "norm1",
    "conv2.0.0": "conv2.spatial",
    "conv2.0.1": "conv2.norm",
    "conv2.0.3": "conv2.temporal",
    "conv2.1": "norm2",
    "downsample.0": "shortcut.conv",
    "downsample.1": "shortcut.norm",
}


def rename_torchvision_r2plus1d(key: str) -> str | None:
    """Our name for a key of the published R(2+1)D file; None for a key that it has not."""
    module, _, leaf = key.rpartition(".")
    if module in _ENDS:
        return f"{_ENDS[module]}.{leaf}"
    block = _BLOCK.fullmatch(module)
    if block and block[3] in _INSIDE_BLOCK:
        return f"stages.{int(block[1]) - 1}.{block[2]}.{_INSIDE_BLOCK[block[3]]}.{leaf}"
    return None
