"""The published keys name every tensor of our networks, each once."""

import pytest
import torch

from co3d.models.x3d import x3d_l, x3d_m
from co3d.weights.keymaps import match_keys

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


def test_our_own_keys_need_no_map() -> None:
    match = match_keys(["a.weight", "b"], ["a.weight", "b", "c"])
    assert match.source_of == {"a.weight": "a.weight", "b": "b"}
    assert match.missing == ["c"]


def test_two_keys_for_one_name_are_not_both_used() -> None:
    key = "s1.pathway0_stem.conv.weight"
    match = match_keys([key, key, "s2.pathway0_res0.branch9.weight"], ["stem.conv_t.weight"])
    assert match.source_of == {"stem.conv_t.weight": key}
    assert match.unused == [key, "s2.pathway0_res0.branch9.weight"]
