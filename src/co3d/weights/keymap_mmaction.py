"""Keys of the checkpoints that mmaction2 writes."""

import re

from co3d.weights.key_tables import BOTTLENECK, MOBILE, SEPARATED, KeyTable, name_layers

_BLOCK = re.compile(r"backbone\.layer(\d)\.(\d+)\.(.+)")
_SHORTCUT = ("downsample.conv", "downsample.bn")
_LAYERS = (_SHORTCUT, *((f"conv{number}.conv", f"conv{number}.bn") for number in (1, 2, 3)))
_CLASSIFIER = {"cls_head.fc_cls": "head.classifier"}


def _name_stem(ours: str) -> dict[str, str]:
    return {"backbone.conv1.conv": f"{ours}.conv", "backbone.conv1.bn": f"{ours}.norm"}


MMACTION_RESNET3D = KeyTable(
    ends={**_name_stem("trunk.stem"), **_CLASSIFIER},
    block=_BLOCK,
    place=lambda stage, index: f"trunk.res{stage + 1}.{index}",
    inside=name_layers(_LAYERS, BOTTLENECK),
)

MMACTION_X3D = KeyTable(
    ends={
        "backbone.conv1_s.conv": "stem.conv_s",
        "backbone.conv1_t.conv": "stem.conv_t",
        "backbone.conv1_t.bn": "stem.norm",
        "backbone.conv5.conv": "head.expand",
        "backbone.conv5.bn": "head.expand_norm",
        "cls_head.fc1": "head.hidden",
        "cls_head.fc2": "head.classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"stages.{stage - 1}.{index}",
    inside={
        **name_layers(_LAYERS, MOBILE),
        "se_module.fc1": "excite.reduce",
        "se_module.fc2": "excite.restore",
    },
)


def _make_csn(*middle: tuple[str, str]) -> KeyTable:
    """Of the second convolution's parts, in order, our names."""
    parts = tuple((f"conv2.{index}.conv", f"conv2.{index}.bn") for index in range(len(middle)))
    theirs = (_SHORTCUT, _LAYERS[1], *parts, _LAYERS[3])
    return KeyTable(
        ends={**_name_stem("stem"), **_CLASSIFIER},
        block=_BLOCK,
        place=lambda stage, index: f"stages.{stage - 1}.{index}",
        inside=name_layers(theirs, (*SEPARATED[:2], *middle, SEPARATED[3])),
    )


MMACTION_IR_CSN = _make_csn(SEPARATED[2])
MMACTION_IP_CSN = _make_csn(("mix", "mix_norm"), SEPARATED[2])

MMACTION_TSM = KeyTable(
    ends={**_name_stem("backbone.stem"), **_CLASSIFIER},
    block=_BLOCK,
    place=lambda stage, index: f"backbone.res{stage + 1}.{index}",
    inside={**name_layers(_LAYERS, BOTTLENECK), "conv1.conv.net": "reduce"},
)

# The first stage does not expand: its layers have other numbers.
_FIRST = re.compile(r"backbone\.layer(1)\.(\d+)\.(.+)")
_MOBILE_LAYERS = tuple((f"conv.{index}.conv", f"conv.{index}.bn") for index in range(3))


def _make_mobilenet(block: re.Pattern[str], inside: dict[str, str]) -> KeyTable:
    return KeyTable(
        ends={
            **_name_stem("backbone.stem"),
            "backbone.conv2.conv": "backbone.last.conv",
            "backbone.conv2.bn": "backbone.last.norm",
            **_CLASSIFIER,
        },
        block=block,
        place=lambda stage, index: f"backbone.stages.{stage - 1}.{index}",
        inside=inside,
    )


_MOBILENET_FIRST = _make_mobilenet(_FIRST, name_layers(_MOBILE_LAYERS[:2], MOBILE[2:]))
_MOBILENET = _make_mobilenet(
    _BLOCK,
    {
        **name_layers(_MOBILE_LAYERS, MOBILE[1:]),
        "conv.0.net.conv": "expand",
        "conv.0.net.bn": "expand_norm",
    },
)


def rename_mmaction_tsm_mobilenet(key: str) -> str | None:
    """Our name for a key of a TSM MobileNetV2; None for a key that no such file has."""
    table = _MOBILENET_FIRST if key.startswith("backbone.layer1.") else _MOBILENET
    return table.rename(key)
