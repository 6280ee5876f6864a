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

_PATHWAYS = ("slow", "fast")
MMACTION_SLOWFAST = KeyTable(
    ends={
        **{
            f"backbone.{pathway}_path.conv1.{theirs}": f"{pathway}.stem.{ours}"
            for pathway in _PATHWAYS
            for theirs, ours in (("conv", "conv"), ("bn", "norm"))
        },
        **{
            f"backbone.slow_path.{module}_lateral.{theirs}": f"fuse{stage}.{ours}"
            for stage, module in enumerate(("conv1", "layer1", "layer2", "layer3"), start=1)
            for theirs, ours in (("conv", "conv"), ("bn", "norm"))
        },
        **_CLASSIFIER,
    },
    block=re.compile(r"backbone\.(slow|fast)_path\.layer(\d)\.(\d+)\.(.+)"),
    place=lambda pathway, stage, index: f"{pathway}.res{stage + 1}.{index}",
    inside=name_layers(_LAYERS, BOTTLENECK),
)

# Each factorised convolution is in a layer, which holds the norm after it.
_FACTORISED = {
    "conv.conv_s": "spatial",
    "conv.bn_s": "norm",
    "conv.conv_t": "temporal",
}
MMACTION_R2PLUS1D = KeyTable(
    ends={
        **{f"backbone.conv1.{theirs}": f"stem.conv.{ours}" for theirs, ours in _FACTORISED.items()},
        "backbone.conv1.bn": "stem.norm",
        "cls_head.fc_cls": "classifier",
    },
    block=_BLOCK,
    place=lambda stage, index: f"stages.{stage - 1}.{index}",
    inside={
        f"{layer}.{theirs}": ours
        for layer, conv, norm in (
            ("conv1", "conv1", "norm1"),
            ("conv2", "conv2", "norm2"),
            ("downsample", "shortcut.conv", "shortcut.norm"),
        )
        for theirs, ours in (
            *((part, f"{conv}.{name}") for part, name in _FACTORISED.items()),
            ("bn", norm),
        )
    },
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
    """The keys of a CSN, given our names of the parts of its second convolution, in order."""
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
    # TSN and C2D, which shift nothing, have no wrapper around their first convolutions.
    inside=name_layers((_SHORTCUT, ("conv1.conv.net", "conv1.bn"), *_LAYERS[2:]), BOTTLENECK),
)

# The first stage does not expand, so its layers have other numbers.
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
_MOBILENET_PLAIN = _make_mobilenet(_BLOCK, name_layers(_MOBILE_LAYERS, MOBILE[1:]))
# All blocks but the first of a stage have a shortcut, and so a shift around their first layer.
_SHIFTED = re.compile(r"backbone\.layer\d\.[1-9]\d*\..+")
_MOBILENET_SHIFTED = _make_mobilenet(
    _BLOCK,
    name_layers((("conv.0.net.conv", "conv.0.net.bn"), *_MOBILE_LAYERS[1:]), MOBILE[1:]),
)


def rename_mmaction_tsm_mobilenet(key: str) -> str | None:
    """Our name for a key of a TSM MobileNetV2; None for other keys."""
    if key.startswith("backbone.layer1."):
        return _MOBILENET_FIRST.rename(key)
    return (_MOBILENET_SHIFTED if _SHIFTED.fullmatch(key) else _MOBILENET_PLAIN).rename(key)
