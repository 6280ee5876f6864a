import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from co3d.models import ClipModel, create_model
from co3d.weights import cache_path, find_weights, list_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CO3D_CACHE", str(folder))
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "x3d_s.pyth"
    torch.save({"model_state": create_model("x3d_s").state_dict()}, path)
    return path


@functools.cache
def _sketch(name: str) -> ClipModel:
    with torch.device("meta"):
        return create_model(name, weights="random")


@pytest.fixture
def sketched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the networks that files are compared with once."""
    monkeypatch.setattr("co3d.cli.weights_output.create_model", lambda name, **_: _sketch(name))


def put_into_cache(content: bytes) -> Path:
    path = cache_path(find_weights("x3d_s", "kinetics400"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.usefixtures("cache")
def test_list(co3d: Callable[..., Any]) -> None:
    outcome = co3d("weights", "list")
    assert outcome.code == 0
    entries = json.loads(co3d("weights", "list", "--json").out)
    assert [entry["weights"] for entry in entries] == [e.full_tag for e in list_weights()]
    for entry in entries:
        assert entry["weights"] in outcome.out
        assert entry["licence"]
        assert entry["url"].startswith("https://")
        assert not entry["cached"]


def test_info(co3d: Callable[..., Any], cache: Path) -> None:
    outcome = co3d("weights", "info", "slow_r50/charades157", "--json")
    entry = json.loads(outcome.out)
    assert entry["classes"] == 157
    assert entry["activation"] == "sigmoid"
    assert entry["accuracy"] == {"Charades mAP, 30 views": 34.72}
    assert entry["path"] == str(cache / "charades157" / "SLOW_8x8_R50.pyth")
    table = co3d("weights", "info", "slow_r50/charades157").out
    assert "Apache-2.0" in table
    assert "34.72 Charades mAP, 30 views" in table


@pytest.mark.parametrize("command", ["info", "download"])
@pytest.mark.parametrize(
    ("tag", "suggestion"),
    [("charades157", "slow_r50/charades157"), ("x3d_m", "x3d_m/kinetics400"), ("?", "MODEL/TAG")],
)
def test_unknown_tags(co3d: Callable[..., Any], command: str, tag: str, suggestion: str) -> None:
    outcome = co3d("weights", command, tag)
    assert outcome.code == 20
    assert suggestion in outcome.err


def test_download_of_a_cached_file_fetches_nothing(
    co3d: Callable[..., Any], cache: Path, checkpoint: Path
) -> None:
    path = put_into_cache(checkpoint.read_bytes())
    assert str(path) in co3d("weights", "download", "x3d_s/kinetics400").out
    (entry,) = json.loads(co3d("weights", "download", "x3d_s/kinetics400", "--json").out)
    assert entry == {
        "weights": "x3d_s/kinetics400",
        "path": str(path),
        "size_bytes": path.stat().st_size,
    }


def states(outcome: Any) -> dict[str, str]:
    return {check["weights"]: check["state"] for check in json.loads(outcome.out)}


def test_verify(co3d: Callable[..., Any], cache: Path, checkpoint: Path) -> None:
    outcome = co3d("weights", "verify", "--json")
    assert outcome.code == 0
    assert set(states(outcome).values()) == {"absent"}
    put_into_cache(checkpoint.read_bytes())
    outcome = co3d("weights", "verify", "--json")
    assert outcome.code == 0
    assert states(outcome)["x3d_s/kinetics400"] == "ok"


def half(state: dict[str, torch.Tensor]) -> None:
    for key in list(state)[::2]:
        del state[key]


def poison(state: dict[str, torch.Tensor]) -> None:
    state["stem.norm.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("change", "problem"), [(half, "missing"), (poison, "NaN or infinite values in stem.norm.bias")]
)
def test_verify_names_damaged_files(
    co3d: Callable[..., Any],
    cache: Path,
    checkpoint: Path,
    change: Callable[[dict[str, torch.Tensor]], None],
    problem: str,
) -> None:
    state = torch.load(checkpoint, weights_only=True)["model_state"]
    change(state)
    torch.save({"model_state": state}, checkpoint)
    put_into_cache(checkpoint.read_bytes())
    outcome = co3d("weights", "verify", "--json")
    assert outcome.code == 21
    assert "co3d weights download x3d_s/kinetics400" in outcome.err
    checks = {check["weights"]: check for check in json.loads(outcome.out)}
    assert problem in checks["x3d_s/kinetics400"]["problem"]
    assert problem[:3] in co3d("weights", "verify").out


def test_import(co3d: Callable[..., Any], tmp_path: Path, checkpoint: Path) -> None:
    output = tmp_path / "mine.safetensors"
    outcome = co3d("weights", "import", checkpoint, "--model", "x3d_s", "--output", output)
    assert outcome.code == 0
    with safe_open(output, framework="pt") as file:
        assert json.loads(file.metadata()["labels"])[0] == "abseiling"
    original, imported = (create_model("x3d_s", weights=path) for path in (checkpoint, output))
    assert imported.card == original.card
    for name, tensor in original.state_dict().items():
        assert torch.equal(imported.state_dict()[name], tensor)


def test_import_refusals(co3d: Callable[..., Any], tmp_path: Path, checkpoint: Path) -> None:
    outcome = co3d("weights", "import", checkpoint, "--model", "x3d_s", "--output", "mine.pth")
    assert outcome.code == 2
    output = tmp_path / "mine.safetensors"
    outcome = co3d("weights", "import", checkpoint, "--model", "x3d_l", "--output", output)
    assert outcome.code == 21
    assert "choose that model" in outcome.err
    assert not output.exists()


@pytest.mark.usefixtures("sketched_once")
def test_inspect(co3d: Callable[..., Any], checkpoint: Path) -> None:
    entry = json.loads(co3d("weights", "inspect", checkpoint, "--json").out)
    assert entry["container"] == "torch"
    assert entry["key_format"] == "co3d"
    assert entry["fits"] == ["x3d_m", "x3d_s", "x3d_xs"]
    assert entry["tensors"]["stem.conv_s.weight"] == [24, 3, 1, 3, 3]
    assert entry["not_finite"] == []
    outcome = co3d("weights", "inspect", checkpoint)
    assert "stem.conv_s.weight" in outcome.out
    assert "more" in outcome.out


@pytest.mark.usefixtures("sketched_once")
def test_inspect_something_else(co3d: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"a": torch.tensor([float("inf")]), "b": torch.zeros(2).half()}, path)
    entry = json.loads(co3d("weights", "inspect", path, "--json").out)
    assert entry["fits"] == []
    assert entry["key_format"] is None
    assert entry["not_finite"] == ["a"]
    assert entry["dtypes"] == {"float32": 1, "float16": 1}
    assert co3d("weights", "inspect", tmp_path / "absent.pth").code == 21


@pytest.mark.parametrize("command", ["list", "info", "download", "verify", "import", "inspect"])
def test_help_has_an_example(co3d: Callable[..., Any], command: str) -> None:
    outcome = co3d("weights", command, "--help")
    assert outcome.code == 0
    assert f"co3d weights {command}" in outcome.out.split("Example")[1]
