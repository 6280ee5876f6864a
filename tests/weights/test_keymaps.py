"""The published keys name every tensor of our networks, each once."""

import pytest
import torch

from co3d.models.i3d import i3d_r50
from co3d.models.r2plus1d import r2plus1d_18
from co3d.models.slow import slow_r50
from co3d.models.slowfast import slowfast_r50_4x16
from co3d.models.x3d import x3d_l, x3d_m
from co3d.weights.keymaps import match_keys
from support.key_checks import require_exact_cover

LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def published_keys(blocks_per_stage: tuple[int, ...]) -> list[str]:
    """Keys of an X3D file as PySlowFast writes it, built from its naming alone."""
    norms = ["s1.pathway0_stem.bn", "head.conv_5_bn"]
    keys = [
        "s1.pathway0_stem.conv_xy.weight",
        "s1.pathway0_stem.conv.weight",
        "head.conv_5.weight",
        "head.lin_5.weight",
        "head.projection.weight",
        "head.projection.bias",
    ]
    for stage, blocks in enumerate(blocks_per_stage, start=2):
        for i in range(blocks):
            block = f"s{stage}.pathway0_res{i}"
            if i == 0:
                keys.append(f"{block}.branch1.weight")
                norms.append(f"{block}.branch1_bn")
            keys += [f"{block}.branch2.{part}.weight" for part in "abc"]
            norms += [f"{block}.branch2.{part}_bn" for part in "abc"]
            if i % 2 == 0:
                keys += [
                    f"{block}.branch2.se.{fc}.{leaf}"
                    for fc in ("fc1", "fc2")
                    for leaf in ("weight", "bias")
                ]
    return keys + [f"{norm}.{leaf}" for norm in norms for leaf in LEAVES]


@pytest.mark.parametrize(("build", "blocks"), [(x3d_m, (3, 5, 11, 7)), (x3d_l, (5, 10, 25, 15))])
def test_x3d_keys_are_covered_exactly(build, blocks: tuple[int, ...]) -> None:
    with torch.device("meta"):
        names = build().state_dict().keys()
    match = match_keys(published_keys(blocks), names)
    assert match.unused == []
    assert match.missing == []
    assert match.source_of.keys() == names


STAGES = ((2, 3), (3, 4), (4, 6), (5, 3))  # of depth 50
NORM_BLOBS = ("s", "b", "rm", "riv")


def caffe2_pathway(prefix: str) -> list[str]:
    """Blobs of one pathway of a Caffe2 file."""
    convs = {f"{prefix}conv1": f"{prefix}res_conv1_bn"}
    for stage, blocks in STAGES:
        for i in range(blocks):
            branches = ["branch1"] * (i == 0) + ["branch2a", "branch2b", "branch2c"]
            convs |= {
                f"{prefix}res{stage}_{i}_{b}": f"{prefix}res{stage}_{i}_{b}_bn" for b in branches
            }
    return [
        *(f"{conv}_w" for conv in convs),
        *(f"{norm}_{leaf}" for norm in convs.values() for leaf in NORM_BLOBS),
    ]


def caffe2_laterals() -> list[str]:
    heads = ["t_pool1", *(f"t_res{stage}_{n - 1}_branch2c_bn" for stage, n in STAGES[:3])]
    leaves = ["w", *(f"bn_{leaf}" for leaf in NORM_BLOBS)]
    return [f"{head}_subsample_{leaf}" for head in heads for leaf in leaves]


def pytorchvideo_keys() -> list[str]:
    convs, norms = ["blocks.0.conv", "blocks.5.proj"], ["blocks.0.norm"]
    for stage, blocks in STAGES:
        for i in range(blocks):
            block = f"blocks.{stage - 1}.res_blocks.{i}"
            if i == 0:
                convs.append(f"{block}.branch1_conv")
                norms.append(f"{block}.branch1_norm")
            convs += [f"{block}.branch2.conv_{part}" for part in "abc"]
            norms += [f"{block}.branch2.norm_{part}" for part in "abc"]
    weights = [f"{conv}.weight" for conv in convs]
    return [*weights, "blocks.5.proj.bias", *(f"{n}.{leaf}" for n in norms for leaf in LEAVES)]


def torchvision_keys() -> list[str]:
    convs, norms = ["stem.0", "stem.3", "fc"], ["stem.1", "stem.4"]
    for layer in range(1, 5):
        for i in range(2):
            block = f"layer{layer}.{i}"
            for conv in ("conv1", "conv2"):
                convs += [f"{block}.{conv}.0.0", f"{block}.{conv}.0.3"]
                norms += [f"{block}.{conv}.0.1", f"{block}.{conv}.1"]
            if layer > 1 and i == 0:
                convs.append(f"{block}.downsample.0")
                norms.append(f"{block}.downsample.1")
    weights = [f"{conv}.weight" for conv in convs]
    return [*weights, "fc.bias", *(f"{n}.{leaf}" for n in norms for leaf in LEAVES)]


PRED = ["pred_w", "pred_b"]


@pytest.mark.parametrize(
    ("build", "keys", "title"),
    [
        (i3d_r50, [*caffe2_pathway(""), *PRED], "Caffe2 ResNet"),
        (
            slowfast_r50_4x16,
            [*caffe2_pathway(""), *caffe2_pathway("t_"), *caffe2_laterals(), *PRED],
            "Caffe2 SlowFast",
        ),
        (slow_r50, pytorchvideo_keys(), "PyTorchVideo Slow"),
        (r2plus1d_18, torchvision_keys(), "torchvision R(2+1)D"),
    ],
)
def test_keys_are_covered_exactly(build, keys: list[str], title: str) -> None:
    with torch.device("meta"):
        names = build().state_dict().keys()
    require_exact_cover(keys, names, title)


def test_training_blobs_of_caffe2_are_ignored() -> None:
    left_overs = ["conv1_w_momentum", "lr", "model_iter", "res2_0_branch2a_bn_s_momentum"]
    match = match_keys([*left_overs, "conv1_w", "conv9_w"], ["trunk.stem.conv.weight"])
    assert match.source_of == {"trunk.stem.conv.weight": "conv1_w"}
    assert match.unused == ["conv9_w"]


def test_both_names_of_a_caffe2_stem_are_known() -> None:
    match = match_keys(["res_conv1_w"], ["slow.stem.conv.weight"])
    assert match.source_of == {"slow.stem.conv.weight": "res_conv1_w"}


def test_keys_of_co3d_need_no_map() -> None:
    match = match_keys(["a.weight", "b"], ["a.weight", "b", "c"])
    assert match.source_of == {"a.weight": "a.weight", "b": "b"}
    assert match.missing == ["c"]


def test_two_keys_for_one_name_are_not_both_used() -> None:
    key = "s1.pathway0_stem.conv.weight"
    match = match_keys([key, key, "s2.pathway0_res0.branch9.weight"], ["stem.conv_t.weight"])
    assert match.source_of == {"stem.conv_t.weight": key}
    assert match.unused == [key, "s2.pathway0_res0.branch9.weight"]
