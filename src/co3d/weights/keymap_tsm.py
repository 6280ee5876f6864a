"""Keys of the checkpoints of the authors of TSM (github.com/mit-han-lab/temporal-shift-module)."""

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
    inside={
        **name_layers(
            (("downsample.0", "downsample.1"), *((f"conv{n}", f"bn{n}") for n in (1, 2, 3))),
            BOTTLENECK,
        ),
        "conv1.net": "reduce",
    },
)

# Blocks of MobileNetV2 per stage, which lie in one sequence after the stem.
_DEPTHS = (1, 2, 3, 4, 3, 3, 1)
_PLACES = {
    1 + sum(_DEPTHS[:stage]) + index: f"backbone.stages.{stage}.{index}"
    for stage, depth in enumerate(_DEPTHS)
    for index in range(depth)
}
_LAST = 1 + sum(_DEPTHS)
_PREFIX = "base_model."  # absent from the online network
# The first block does not expand: its layers have other numbers.
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
_OTHERS = _make_mobilenet(
    {**name_layers((("0", "1"), ("3", "4"), ("6", "7")), MOBILE[1:]), "0.net": "expand"}
)


def rename_tsm_mobilenet(key: str) -> str | None:
    """Our name for a key of a TSM MobileNetV2, online or not; None for any other key."""
    bare = key.removeprefix(_PREFIX)
    return (_FIRST if bare.startswith(_FIRST_BLOCK) else _OTHERS).rename(bare)
