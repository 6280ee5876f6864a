"""X3D against the logits and features that the upstream implementation computes."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from co3d.models import create_model
from support.oracle_files import fill_state, make_clip, read_oracle, relative_error

TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["x3d_xs", "x3d_m"])
def oracle(request: pytest.FixtureRequest, shared_dir: Path) -> dict[str, Any]:
    return read_oracle(shared_dir, request.param)


@pytest.fixture(scope="module")
def model(oracle: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    path = tmp_path_factory.mktemp("weights") / oracle["file"]
    torch.save({oracle["container"]: fill_state(oracle), "epoch": 1, "cfg": "…"}, path)
    return create_model(oracle["name"], weights=path)


def record_taps(model: nn.Module) -> dict[str, torch.Tensor]:
    """Fill the returned dictionary with the tensors that the oracle calls taps, at every call."""
    taps: dict[str, torch.Tensor] = {}
    modules = {
        "stem": model.stem,
        **{f"res{i + 2}": stage for i, stage in enumerate(model.stages)},
        "pre_pool": model.head.expand_norm,  # its ReLU is a function
        "lin_5": model.head.dropout,
    }
    for name, module in modules.items():

        def record(_module: nn.Module, _inputs: Any, output: torch.Tensor, name=name) -> None:
            taps[name] = F.relu(output)

        module.register_forward_hook(record)
    return taps


def test_parameters(oracle: dict[str, Any], model: nn.Module) -> None:
    assert sum(p.numel() for p in model.parameters()) == oracle["params"]


def test_cases(oracle: dict[str, Any], model: nn.Module) -> None:
    taps = record_taps(model)
    for case in oracle["cases"]:
        with torch.no_grad():
            output = model(make_clip(case["input"]))
        if case["case"] == "published":
            assert relative_error(output, case["logits"]) <= TOLERANCE
            assert output.argmax().item() == case["argmax"]
        else:
            # The output is a logarithm of probabilities there, so its softmax is upstream's mean.
            assert relative_error(output.exp(), case["values"]) <= TOLERANCE
            assert relative_error(output.softmax(-1), case["values"]) <= TOLERANCE
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
def test_the_oracle_notices_a_changed_weight(oracle: dict[str, Any], model: nn.Module) -> None:
    case = oracle["cases"][0]
    bias = model.stages[3][6].excite.reduce.bias
    kept = bias.clone()
    with torch.no_grad():
        bias.copy_(kept.flip(0))
        error = relative_error(model(make_clip(case["input"])), case["logits"])
        bias.copy_(kept)
    assert error > TOLERANCE
