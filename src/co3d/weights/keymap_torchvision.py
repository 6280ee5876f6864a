"""Keys of the checkpoints that torchvision publishes."""

import re

from co3d.weights.key_tables import KeyTable

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(.+)")
_SHORTCUT = {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}


def _place(stage: int, index: int) -> str:
    return f"stages.{stage - 1}.{index}"


TORCHVISION_R2PLUS1D = KeyTable(
    ends={
        "stem.0": "stem.conv.spatial",
        "stem.1": "stem.conv.norm",
        "stem.3": "stem.conv.temporal",
        "stem.4": "stem.norm",
        "fc": "classifier",
    },
    block=_BLOCK,
    place=_place,
    inside={
        "conv1.0.0": "conv1.spatial",
        "conv1.0.1": "conv1.norm",
        "conv1.0.3": "conv1.temporal",
        "conv1.1": "norm1",
        "conv2.0.0": "conv2.spatial",
        "conv2.0.1": "conv2.norm",
        "conv2.0.3": "conv2.temporal",
        "conv2.1": "norm2",
        **_SHORTCUT,
    },
)

TORCHVISION_RESNET = KeyTable(
    ends={"stem.0": "stem.conv", "stem.1": "stem.norm", "fc": "classifier"},
    block=_BLOCK,
    place=_place,
    inside={
        "conv1.0": "conv1",
        "conv1.1": "norm1",
        "conv2.0": "conv2",
        "conv2.1": "norm2",
        **_SHORTCUT,
    },
)

_LAYER = {"0": "conv", "1": "norm"}
# Index of the Inception blocks in the sequence of features; a pool begins each of our stages.
_INCEPTION = {
    number: f"stages.{stage}.{number - before}"
    for stage, (before, after) in enumerate(((4, 7), (7, 13), (13, 16)))
    for number in range(before + 1, after)
}

TORCHVISION_S3D = KeyTable(
    ends={
        **{
            f"features.{theirs}.{part}.{layer}": f"stem.{ours}.{part}.{name}"
            for theirs, ours in ((0, 0), (3, 3))
            for part in (0, 1)
            for layer, name in _LAYER.items()
        },
        **{f"features.2.{layer}": f"stem.2.{name}" for layer, name in _LAYER.items()},
        "classifier.1": "classifier",
    },
    block=re.compile(r"features\.(\d+)\.(.+)"),
    place=_INCEPTION.get,
    inside={
        f"{path}.{layer}": f"{path}.{name}"
        for path in (
            *("branch0", "branch1.0", "branch1.1.0", "branch1.1.1"),
            *("branch2.0", "branch2.1.0", "branch2.1.1", "branch3.1"),
        )
        for layer, name in _LAYER.items()
    },
)
