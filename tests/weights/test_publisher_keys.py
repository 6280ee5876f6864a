"""Key maps of publishers whose code no test can run: their keys, built from their naming alone."""

from collections.abc import Iterable

import pytest
import torch

from co3d.models import create_model
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


@pytest.mark.parametrize(
    ("name", "keys", "title"),
    [
        ("slow_r50", pyslowfast(1), "PySlowFast ResNet"),
        ("i3d_r50", pyslowfast(1), "PySlowFast ResNet"),
        ("c2d_r50", pyslowfast(1), "PySlowFast ResNet"),
        ("slowfast_r50_8x8", pyslowfast(2), "PySlowFast SlowFast"),
        ("tsm_r50", tsm_resnet(), "TSM"),
        ("tsm_mobilenet_v2", tsm_mobilenet(), "TSM"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_keys_name_every_tensor_once(
    name: str, keys: list[str], title: str, prefix: str
) -> None:
    with torch.device("meta"):
        names = create_model(name, "random").state_dict().keys()
    require_exact_cover([prefix + key for key in keys], names, title)
