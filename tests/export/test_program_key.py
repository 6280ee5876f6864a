"""The key of a converted program has everything that a conversion depends on, or there is none."""

import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import co3d
from co3d.compiler import StepProgram
from co3d.compiler.options import ConvertOptions
from co3d.export import installed, program_key
from co3d.export.program_cache import convert_or_read
from co3d.export.program_key import find_program_key
from support.kept_programs import OPTIONS, SHAPE, key, network, own_cache  # noqa: F401

# Everything that a conversion depends on is in the key.


def test_the_same_network_has_the_same_key() -> None:
    assert key() is not None
    assert key() == key()
    assert key(network().train()) == key(network().eval())


@pytest.mark.slow
def test_other_processes_find_the_same_key() -> None:
    """Also if they have imported other modules."""
    code = (
        "import co3d.compiler.trainable, co3d.benchmark.records, colorsys\n"
        "from co3d.compiler.options import ConvertOptions\n"
        "from co3d.export.program_key import find_program_key\n"
        "from co3d.models import create_model\n"
        f"print(find_program_key(create_model('camera_motion'), ({SHAPE},), "
        "ConvertOptions(edges='both')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == key()


def change_weight(model: nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6


def change_statistic(model: nn.Module) -> None:
    next(b for name, b in model.named_buffers() if "mean" in name)[0] += 1e-6


def change_epsilon(model: nn.Module) -> None:
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm3d)).eps = 2e-5


def change_stride(model: nn.Module) -> None:
    next(m for m in model.modules() if isinstance(m, nn.Conv3d)).stride = (1, 1, 2)


def change_dtype(model: nn.Module) -> None:
    next(m for m in model.modules() if isinstance(m, nn.ReLU)).inplace ^= True


def swap_a_layer(model: nn.Module) -> None:
    name = next(name for name, m in model.named_modules() if isinstance(m, nn.ReLU))
    model.set_submodule(name, nn.SiLU())


def move_memory(model: nn.Module) -> None:
    conv = next(m for m in model.modules() if isinstance(m, nn.Conv3d))
    conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last_3d)


def change_precision(model: nn.Module) -> None:
    model.double()


@pytest.mark.parametrize(
    "change",
    [
        change_weight,
        change_statistic,
        change_epsilon,
        change_stride,
        change_dtype,
        swap_a_layer,
        move_memory,
        change_precision,
    ],
)
def test_every_change_of_a_network_changes_the_key(change: Callable[[nn.Module], None]) -> None:
    model = network()
    change(model)
    assert key(model) not in (None, key())


@pytest.mark.parametrize(
    "options",
    [
        {"window": 3},
        {"rate": "native"},
        {"scope": "window"},
        {"edges": "start"},
        {"fallback": True},
        {"rate": "native", "spread": True},
        {"shape": (3, 9, 32, 32)},
    ],
)
def test_every_option_is_in_the_key(options: dict) -> None:
    assert key(**options) not in (None, key())


def test_code_and_versions_are_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe = installed.describe_installed.__wrapped__
    described = [describe()]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "2.99.0")
        described.append(describe())
    with monkeypatch.context() as patch:
        patch.setattr(installed, "_CO3D", tmp_path)
        for text in ("WIDTH = 2", "WIDTH = 3"):
            (tmp_path / "x3d.py").write_text(text)
            described.append(describe())
    assert describe() == described[0]
    keys = []
    for text in described:
        monkeypatch.setattr(program_key, "describe_installed", partial(str, text))
        keys.append(key())
    assert None not in keys
    assert len(set(keys)) == len(described) == 4


def test_packages_enter_the_key_by_name_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "_site_folders", lambda: (tmp_path,))
    (tmp_path / "nets-1.0.dist-info").mkdir()
    first = installed.describe_installed.__wrapped__()
    (tmp_path / "nets-1.0.dist-info").rename(tmp_path / "nets-1.1.dist-info")
    assert installed.describe_installed.__wrapped__() != first


def test_a_module_without_a_package_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "nets-1.0.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("nets/__init__.py,,\nsingle.py,,\n")
    with monkeypatch.context() as patch:
        patch.setattr(installed, "_site_folders", lambda: (tmp_path,))
        claimed = installed._claimed_names.__wrapped__()
    assert {"nets", "single"} <= claimed
    assert "dropped" not in claimed
    assert installed.is_installed("torch.nn")
    assert installed.is_installed("co3d.models.x3d")
    assert not installed.is_installed(__name__)
    assert not installed.is_installed("__main__")


def test_constants_of_the_models_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr("co3d.models.head.SOME_WIDTH", 3, raising=False)
    assert key() not in (None, before)


def test_torchs_default_dtype_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = network(), key()
    torch.set_default_dtype(torch.float64)
    try:
        assert key(model) not in (None, before)
    finally:
        torch.set_default_dtype(torch.float32)


# Networks with code that may have changed are converted again.


class Users(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3, 4))


def add_hook(model: nn.Module) -> None:
    next(model.children()).register_forward_hook(lambda *_: None)


def replace_forward(model: nn.Module) -> None:
    model.forward = lambda x: x.mean((2, 3, 4))


def hold_a_function(model: nn.Module) -> None:
    model.extra = lambda x: x


def hold_an_object(model: nn.Module) -> None:
    model.extra = object()


def hold_a_tensor_subclass(model: nn.Module) -> None:
    class Marked(Tensor): ...

    model.extra = torch.zeros(1).as_subclass(Marked)


def hold_a_users_layer(model: nn.Module) -> None:
    model.extra = Users()


@pytest.mark.parametrize(
    "change",
    [
        add_hook,
        replace_forward,
        hold_a_function,
        hold_an_object,
        hold_a_tensor_subclass,
        hold_a_users_layer,
    ],
)
def test_networks_with_code_of_their_own_have_no_key(change: Callable[[nn.Module], None]) -> None:
    model = network()
    change(model)
    assert key(model) is None


def test_a_users_own_network_is_not_cached(tmp_path: Path) -> None:
    for _ in range(2):
        assert isinstance(convert_or_read(Users(), SHAPE, OPTIONS), StepProgram)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "place",
    [
        "co3d.models.camera_motion.CameraMotionNet.forward",
        "co3d.models.head.anything",
        "co3d.compiler.pipeline.analyse",
        "torch.nn.functional.relu",
        "torch.nn.Conv3d.forward",
    ],
)
def test_replaced_code_has_no_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    monkeypatch.setattr(place, lambda *_: None, raising=False)
    assert key(model) is None


def test_a_users_own_passes_and_rules_prevent_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("co3d.compiler.pipeline.EXACT_PASSES", (lambda graph: graph,))
    assert key() is None
    monkeypatch.undo()
    monkeypatch.setattr(program_key, "_RULES", {"demo.change": lambda ctx, node: None})
    assert key() is None


def test_global_modes_and_hooks_prevent_a_key() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert key() is None
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert key() is None
    finally:
        hook.remove()


@pytest.mark.parametrize(
    "held", [partial(torch.nn.functional.leaky_relu, negative_slope=0.1), random.Random(1)]
)
def test_objects_with_hidden_state_prevent_a_key(held: object) -> None:
    model = co3d.create_model("camera_motion")
    assert find_program_key(model, ((3, 8, 64, 64),), ConvertOptions()) is not None
    model.held = held  # type: ignore[assignment]
    assert find_program_key(model, ((3, 8, 64, 64),), ConvertOptions()) is None


def test_class_attributes_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    model = co3d.create_model("camera_motion")
    before = find_program_key(model, ((3, 8, 64, 64),), ConvertOptions())
    monkeypatch.setattr(type(model), "scale_by", 2.0, raising=False)
    assert find_program_key(model, ((3, 8, 64, 64),), ConvertOptions()) != before
