"""Keys of the checkpoints of TSM's authors (github.com/mit-han-lab/temporal-shift-module)."""

import re

from co3d.weights.key_tables import BOTTLENECK, MOBILE, KeyTable, name_layers

TSM_RESNET = KeyTable(
    ends={
        "base_model.conv1": "backbone.stem.conv",
        "base_model.bn1": "backbone.stem.norm",
        "new_fc": "head.classifier",
    },
    block=re.compile(r"base_model\.layer([1-4])\.(\d+)\.(.+)"),
    place=lambda stage, index: f"backbone.res{stage + 1}.{index}",
    # TSN's files, which shift nothing, have no wrapper around their first convolutions.
    inside=name_layers(
        (
            ("downsample.0", "downsample.1"),
            ("conv1.net", "bn1"),
            ("conv2", "bn2"),
            ("conv3", "bn3"),
        ),
        BOTTLENECK,
    ),
)

# Blocks of MobileNetV2 per stage, in one sequence after the stem.
_DEPTHS = (1, 2, 3, 4, 3, 3, 1)
_PLACES = {
    1 + sum(_DEPTHS[:stage]) + index: f"backbone.stages.{stage}.{index}"
    for stage, depth in enumerate(_DEPTHS)
    for index in range(depth)
}
_LAST = 1 + sum(_DEPTHS)
_PREFIX = "base_model."  # absent from the online network
# The first block does not expand, so its layers have other numbers.
_FIRST_BLOCK = "features.1."


def _make_mobilenet(inside: dict[str, str]) -> KeyTable:
    return KeyTable(
        ends={
            "features.0.0": "backbone.stem.conv",
            "features.0.1": "backbone.stem.norm",
            f"features.{_LAST}.0": "backbone.last.conv",
            f"features.{_LAST}.1": "backbone.last.norm",
            "new_fc": "head.classifier",
            "classifier": "head.classifier",
        },
        block=re.compile(r"features\.(\d+)\.conv\.(.+)"),
        place=_PLACES.get,
        inside=inside,
    )


_FIRST = _make_mobilenet(name_layers((("0", "1"), ("3", "4")), MOBILE[2:]))
_REST = (("3", "4"), ("6", "7"))
_PLAIN = _make_mobilenet(name_layers((("0", "1"), *_REST), MOBILE[1:]))
_SHIFTED = _make_mobilenet(name_layers((("0.net", "1"), *_REST), MOBILE[1:]))
# All blocks but the first of a stage have a shortcut, and so a shift; the online network's are
# written in the block itself.
_SHIFTED_BLOCKS = tuple(
    f"{_PREFIX}features.{number}." for number, place in _PLACES.items() if place[-2:] != ".0"
)


def rename_tsm_mobilenet(key: str) -> str | None:
    """Our name for a key of a TSM MobileNetV2, online or not; None for any other key."""
    bare = key.removeprefix(_PREFIX)
    if bare.startswith(_FIRST_BLOCK):
        return _FIRST.rename(bare)
    return (_SHIFTED if key.startswith(_SHIFTED_BLOCKS) else _PLAIN).rename(bare)
