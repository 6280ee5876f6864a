"""Key maps of publishers: their keys, built from their naming alone, name every tensor of ours."""

from collections.abc import Iterable

import pytest
import torch

from co3d.models import create_model
from co3d.weights.keymaps import match_keys
from support.key_checks import require_exact_cover

LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
DEPTHS = (3, 4, 6, 3)


def write_keys(convs: Iterable[str], norms: Iterable[str], linear: str) -> list[str]:
    weights = [f"{conv}.weight" for conv in (*convs, linear)]
    return [*weights, f"{linear}.bias", *(f"{norm}.{leaf}" for norm in norms for leaf in LEAVES)]


def pyslowfast(pathways: int) -> list[str]:
    """Files of PySlowFast's ResNets: Slow, C2D and I3D of one pathway, SlowFast of two."""
    convs, norms = [], []
    for pathway in range(pathways):
        convs.append(f"s1.pathway{pathway}_stem.conv")
        norms.append(f"s1.pathway{pathway}_stem.bn")
        for stage, depth in enumerate(DEPTHS, start=2):
            for index in range(depth):
                block = f"s{stage}.pathway{pathway}_res{index}"
                parts = ["branch1"] * (index == 0) + [f"branch2.{letter}" for letter in "abc"]
                convs += [f"{block}.{part}" for part in parts]
                norms += [f"{block}.{part}_bn" for part in parts]
    for stage in range(1, 5) if pathways == 2 else ():
        convs.append(f"s{stage}_fuse.conv_f2s")
        norms.append(f"s{stage}_fuse.bn")
    return write_keys(convs, norms, "head.projection")


def mmaction_layers(backbone: str, parts: Iterable[str], strided_from: int = 1) -> list[str]:
    """Modules of a convolution and a norm each; shortcuts have some from a layer on."""
    layers = [f"{backbone}.conv1"]
    for layer, depth in enumerate(DEPTHS, start=1):
        for index in range(depth):
            shortcut = ["downsample"] * (index == 0 and layer >= strided_from)
            layers += [f"{backbone}.layer{layer}.{index}.{part}" for part in (*parts, *shortcut)]
    return layers


def mmaction_slowfast(*, has_norm: bool) -> list[str]:
    paths = ("backbone.slow_path", "backbone.fast_path")
    layers = [layer for p in paths for layer in mmaction_layers(p, ("conv1", "conv2", "conv3"))]
    laterals = [f"{paths[0]}.{m}_lateral" for m in ("conv1", "layer1", "layer2", "layer3")]
    convs = [f"{layer}.conv" for layer in (*layers, *laterals)]
    norms = [f"{layer}.bn" for layer in (*layers, *(laterals * has_norm))]
    return write_keys(convs, norms, "cls_head.fc_cls")


def mmaction_r2plus1d() -> list[str]:
    layers = mmaction_layers("backbone", ("conv1", "conv2"), strided_from=2)
    convs = [f"{layer}.conv.conv_{axis}" for layer in layers for axis in "st"]
    norms = [f"{layer}.{norm}" for layer in layers for norm in ("conv.bn_s", "bn")]
    return write_keys(convs, norms, "cls_head.fc_cls")


def pytorchvideo_r2plus1d() -> list[str]:
    convs, norms = ["blocks.0.conv"], ["blocks.0.norm"]
    for stage, depth in enumerate(DEPTHS, start=1):
        for index in range(depth):
            block = f"blocks.{stage}.res_blocks.{index}"
            parts = ("conv_a", "conv_b.conv_t", "conv_b.conv_xy", "conv_c")
            convs += [f"{block}.branch2.{part}" for part in parts]
            convs += [f"{block}.branch1_conv"] * (index == 0)
            parts = ("norm_a", "conv_b.norm", "norm_b", "norm_c")
            norms += [f"{block}.branch2.{part}" for part in parts]
            norms += [f"{block}.branch1_norm"] * (index == 0)
    return write_keys(convs, norms, "blocks.5.proj")


def tsm_resnet() -> list[str]:
    convs, norms = ["base_model.conv1"], ["base_model.bn1"]
    for layer, depth in enumerate(DEPTHS, start=1):
        for index in range(depth):
            block = f"base_model.layer{layer}.{index}"
            convs += [f"{block}.conv1.net", f"{block}.conv2", f"{block}.conv3"]
            norms += [f"{block}.bn{number}" for number in (1, 2, 3)]
            if index == 0:
                convs.append(f"{block}.downsample.0")
                norms.append(f"{block}.downsample.1")
    return write_keys(convs, norms, "new_fc")


def tsm_mobilenet() -> list[str]:
    """Blocks 3, 5, 6, 8, 9, 10, 12, 13, 15 and 16 have shortcuts, and so shifts."""
    shifted = {3, 5, 6, 8, 9, 10, 12, 13, 15, 16}
    convs, norms = [], []
    for index in (0, 18):
        convs.append(f"base_model.features.{index}.0")
        norms.append(f"base_model.features.{index}.1")
    for index in range(1, 18):
        block = f"base_model.features.{index}.conv"
        numbers = (0, 3) if index == 1 else (0, 3, 6)
        convs += [f"{block}.{n}{'.net' * (index in shifted and n == 0)}" for n in numbers]
        norms += [f"{block}.{number + 1}" for number in numbers]
    return write_keys(convs, norms, "new_fc")


def mmaction_resnet2d(shifted: str) -> list[str]:
    """Files of mmaction2's pictures' ResNet: TSN's and C2D's, and TSM's, which wraps layers."""
    layers = mmaction_layers("backbone", ("conv1", "conv2", "conv3"))
    wrapped = [
        f"{layer}.conv{shifted * (layer.endswith('.conv1') and '.layer' in layer)}"
        for layer in layers
    ]
    return write_keys(wrapped, [f"{layer}.bn" for layer in layers], "cls_head.fc_cls")


def mmaction_mobilenet() -> list[str]:
    layers = ["backbone.conv1", "backbone.conv2"]
    for stage, depth in enumerate((1, 2, 3, 4, 3, 3, 1), start=1):
        for index in range(depth):
            block = f"backbone.layer{stage}.{index}.conv"
            layers += [
                f"{block}.{number}{'.net' * (number == 0 and index > 0)}"
                for number in range(2 if stage == 1 else 3)
            ]
    convs, norms = ([f"{layer}.{part}" for layer in layers] for part in ("conv", "bn"))
    return write_keys(convs, norms, "cls_head.fc_cls")


@pytest.mark.parametrize(
    ("name", "keys", "expand"),
    [
        ("tsm_r50", mmaction_resnet2d(""), "backbone.layer1.0.conv1.conv.weight"),
        ("tsm_r50", tsm_resnet(), "base_model.layer1.0.conv1.weight"),
        ("tsm_mobilenet_v2", tsm_mobilenet(), "base_model.features.3.conv.0.weight"),
        ("tsm_mobilenet_v2", mmaction_mobilenet(), "backbone.layer2.1.conv.0.conv.weight"),
    ],
)
def test_networks_without_shifts_are_not_taken_for_tsm(
    name: str, keys: list[str], expand: str
) -> None:
    """They have the same tensors, but the results would be others."""
    with torch.device("meta"):
        names = create_model(name, "random").state_dict().keys()
    unused = match_keys([key.replace(".net", "") for key in keys], names).unused
    assert expand in unused


@pytest.mark.parametrize(
    ("name", "keys", "title"),
    [
        ("slow_r50", pyslowfast(1), "PySlowFast ResNet"),
        ("i3d_r50", pyslowfast(1), "PySlowFast ResNet"),
        ("c2d_r50", pyslowfast(1), "PySlowFast ResNet"),
        ("slowfast_r50_8x8", pyslowfast(2), "PySlowFast SlowFast"),
        ("slowfast_r50_8x8_mmaction", mmaction_slowfast(has_norm=False), "mmaction2 SlowFast"),
        (
            "slowfast_r50_8x8_steplr_mmaction",
            mmaction_slowfast(has_norm=True),
            "mmaction2 SlowFast",
        ),
        ("r2plus1d_r50", pytorchvideo_r2plus1d(), "PyTorchVideo R(2+1)D"),
        ("r2plus1d_r34_8x8", mmaction_r2plus1d(), "mmaction2 R(2+1)D"),
        ("tsm_r50", mmaction_resnet2d(".net"), "mmaction2 TSM"),
        ("tsm_r50", tsm_resnet(), "TSM"),
        ("tsm_mobilenet_v2", tsm_mobilenet(), "TSM"),
        ("tsm_mobilenet_v2", mmaction_mobilenet(), "mmaction2 TSM"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_keys_map_to_every_tensor_exactly_once(
    name: str, keys: list[str], title: str, prefix: str
) -> None:
    with torch.device("meta"):
        names = create_model(name, "random").state_dict().keys()
    require_exact_cover([prefix + key for key in keys], names, title)
