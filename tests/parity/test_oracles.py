"""Every published checkpoint gives the logits and features that upstream computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from co3d.models import ClipModel, create_model
from co3d.models.i3d import I3D
from co3d.models.r2plus1d import R2Plus1D
from co3d.models.slow import Slow
from co3d.models.slowfast import SlowFast
from co3d.models.x3d import X3D
from support.oracle_files import (
    MODELS,
    list_oracles,
    make_clip,
    read_oracle,
    relative_error,
    write_checkpoint,
)

TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=list_oracles())
def oracle(request: pytest.FixtureRequest, shared_dir: Path) -> dict[str, Any]:
    return read_oracle(shared_dir, request.param)


@pytest.fixture(scope="module")
def model(oracle: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    path = write_checkpoint(oracle, tmp_path_factory.mktemp("weights"))
    model = create_model(MODELS.get(oracle["name"], oracle["name"]), weights=path)
    path.unlink()
    return model


def x3d_taps(model: X3D) -> dict[str, nn.Module]:
    return {
        "stem": model.stem,
        **{f"res{i + 2}": stage for i, stage in enumerate(model.stages)},
        "pre_pool": model.head.expand_norm,  # its ReLU is a function
        "lin_5": model.head.dropout,
    }


def slow_taps(model: Slow | I3D) -> dict[str, nn.Module]:
    trunk = model.trunk
    stages = {"stem": trunk.stem, "res2": trunk.res2, "res3": trunk.res3, "res4": trunk.res4}
    return {**stages, "pre_pool": trunk.res5}


def i3d_taps(model: I3D) -> dict[str, nn.Module]:
    return {**slow_taps(model), "res2_pooled": model.pool}


def slowfast_taps(model: SlowFast) -> dict[str, nn.Module]:
    taps: dict[str, nn.Module] = {}
    for name, trunk in (("slow", model.slow), ("fast", model.fast)):
        taps |= {f"{stage}_{name}": getattr(trunk, stage) for stage in ("stem", "res2", "res3")}
        taps |= {f"res4_{name}": trunk.res4, f"pre_pool_{name}": trunk.res5}
    taps |= {"stem_fused_slow": model.fuse1, "res2_fused_slow": model.fuse2}
    return taps | {"res3_fused_slow": model.fuse3, "res4_fused_slow": model.fuse4}


def r2plus1d_taps(model: R2Plus1D) -> dict[str, nn.Module]:
    stages = {f"layer{i + 1}": model.stages[i] for i in range(3)}
    return {"stem": model.stem, **stages, "pre_pool": model.stages[3]}


TAPS: dict[type[ClipModel], Callable[[Any], dict[str, nn.Module]]] = {
    X3D: x3d_taps,
    Slow: slow_taps,
    I3D: i3d_taps,
    SlowFast: slowfast_taps,
    R2Plus1D: r2plus1d_taps,
}


def record_taps(model: ClipModel) -> dict[str, torch.Tensor]:
    """A dictionary that each forward fills with the features that the oracle calls taps."""
    taps: dict[str, torch.Tensor] = {}
    for name, module in TAPS[type(model)](model).items():

        def record(_module: nn.Module, _inputs: Any, output: torch.Tensor, name=name) -> None:
            taps[name] = F.relu(output)  # upstream's taps are after the last ReLU

        module.register_forward_hook(record)
    return taps


def test_checkpoints_have_the_published_number_of_parameters(
    oracle: dict[str, Any], model: ClipModel
) -> None:
    assert sum(p.numel() for p in model.parameters()) == oracle["params"]


def test_the_card_of_a_published_file_is_known(oracle: dict[str, Any], model: ClipModel) -> None:
    """The registry's entry for the file's published name."""
    published = oracle["published_input"]
    assert len(model.card.labels) == oracle["num_classes"]
    assert model.card.activation == oracle["eval_activation"]
    assert model.card.crop_px == published["crop"]
    if published["sampling_rate"]:
        assert model.card.clip_frames == published["frames"]
        assert model.card.rate_hz == 30 / published["sampling_rate"]
        assert model.card.short_side_px == published["test_crop"]


def test_logits_and_features_equal_upstream(oracle: dict[str, Any], model: ClipModel) -> None:
    taps = record_taps(model)
    for case in oracle["cases"]:
        with torch.inference_mode():
            output = model(make_clip(case["input"]))
        if case["case"] == "published":
            assert relative_error(output, case["logits"]) <= TOLERANCE
            assert output.argmax().item() == case["argmax"]
        elif case["output"].startswith("softmax"):
            # The output is a logarithm of probabilities there, so its softmax is upstream's mean.
            assert relative_error(output.exp(), case["values"]) <= TOLERANCE
            assert relative_error(output.softmax(-1), case["values"]) <= TOLERANCE
        else:
            assert relative_error(output, case["values"]) <= TOLERANCE
        check_features(taps, case["features"])


def check_features(taps: dict[str, torch.Tensor], expected: dict[str, Any]) -> None:
    assert taps.keys() == expected.keys()
    for name, feature in expected.items():
        got = taps[name]
        assert list(got.shape) == feature["shape"], name
        assert got.double().mean().item() == pytest.approx(feature["mean"], rel=TOLERANCE), name
        std = got.double().std(correction=0).item()
        assert std == pytest.approx(feature["std"], rel=TOLERANCE), name
        values = got.flatten()[torch.tensor(feature["idx"])]
        assert relative_error(values, feature["values"]) <= TOLERANCE, name


@pytest.mark.parametrize("oracle", ["x3d_xs"], indirect=True)
def test_a_changed_weight_fails_the_comparison(oracle: dict[str, Any], model: X3D) -> None:
    case = oracle["cases"][0]
    bias = model.stages[3][6].excite.reduce.bias
    kept = bias.clone()
    with torch.no_grad():
        bias.copy_(kept.flip(0))
        error = relative_error(model(make_clip(case["input"])), case["logits"])
        bias.copy_(kept)
    assert error > TOLERANCE
