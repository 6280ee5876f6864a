"""Which backend "auto" chooses, and the errors for unavailable backends."""

import pytest
import torch
from torch import nn

from co3d import packages
from co3d.backends import table
from co3d.backends.table import BACKENDS
from co3d.backends.triton_gpu import availability
from co3d.compiler import convert
from co3d.errors import MissingPackageError, OptionError
from co3d.runtime import open_stream
from co3d.runtime.choice import Choice, choose_backend
from support.networks import small_network
from support.streaming import randomise_

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def program():
    return convert(randomise_(small_network()), (3, 4, 6, 6))


@pytest.fixture(scope="module")
def grouped():
    """A network that the native kernels do not support."""
    return convert(nn.Conv3d(4, 4, 3, groups=2), (4, 4, 6, 6))


def _uninstall(monkeypatch: pytest.MonkeyPatch, *packages_: str) -> None:
    for module in (table, packages):
        monkeypatch.setattr(module, "is_installed", lambda name: name not in packages_)


def choose(program, precision: str = "float32", device: torch.device = CPU) -> str:
    return choose_backend(program, precision, device).backend


def test_auto_measures_installed_backends(grouped, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend(grouped, "float32", CPU) == Choice(
        "openvino", 1, "auto: 1.0 ms a step here; onnxruntime 2.0, torch 3.0"
    )
    _uninstall(monkeypatch, "openvino")
    assert choose_backend(grouped, "float32", CPU) == Choice(
        "onnxruntime", 1, "auto: 1.0 ms a step here; torch 2.0"
    )
    _uninstall(monkeypatch, "openvino", "onnxruntime")
    reason = "auto: the fastest that is installed; pip install 'co3d[openvino]' brings a faster one"
    assert choose_backend(grouped, "float32", CPU) == Choice("torch", 1, reason)


@pytest.mark.parametrize("groups", [1, 3])
def test_auto_chooses_native_kernels_that_run_all_convolutions(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nn.Conv3d(3, 3, 3, padding=1, groups=groups)
    program = convert(nn.Sequential(first, nn.Conv3d(3, 4, 1)), (3, 4, 6, 6))
    assert choose(program) == "native"
    monkeypatch.setattr(table, "why_unavailable", lambda: "it cannot be compiled; try another")
    assert choose_backend(program, "float32", CPU).reason == (
        "auto: 1.0 ms a step here; onnxruntime 2.0, torch 3.0; it cannot be compiled"
    )
    monkeypatch.setattr(table, "find_compiler", lambda: None)
    assert "; a C++ compiler brings a faster one" in choose_backend(program, "float32", CPU).reason


def test_auto_does_not_build_kernels_that_it_would_not_use(
    grouped, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise AssertionError

    monkeypatch.setattr(table, "why_unavailable", fail)
    assert choose(grouped) == "openvino"


@pytest.mark.parametrize(
    "network",
    [
        nn.Conv3d(4, 8, 3, groups=4),  # of one channel per group, which has two results
        nn.Conv3d(8, 4, 3, groups=4),  # of two channels per group
        # At native rate the grouped convolution is in the second of two graphs alone.
        nn.Sequential(
            nn.Conv3d(3, 4, (1, 3, 3)),
            nn.MaxPool3d((2, 1, 1)),
            nn.Conv3d(4, 4, (1, 3, 3), groups=2),
        ),
    ],
)
def test_auto_does_not_choose_native_for_grouped_convolutions(network: nn.Module) -> None:
    first = network[0] if isinstance(network, nn.Sequential) else network
    assert isinstance(first, nn.Conv3d)
    rate = "native" if isinstance(network, nn.Sequential) else "dense"
    program = convert(network, (first.in_channels, 4, 6, 6), rate=rate)
    assert choose(program) != "native"


def test_auto_checks_the_graphs_of_all_phases() -> None:
    strided = nn.Conv3d(3, 4, 3, stride=(2, 1, 1), padding=1)
    program = convert(strided, (3, 4, 6, 6), rate="native")
    assert choose(program) == "native"


def test_auto_does_not_choose_native_without_convolutions() -> None:
    program = convert(nn.AvgPool3d(2, stride=1), (3, 4, 6, 6))
    assert choose(program) == "openvino"


def test_auto_chooses_by_precision_and_device(grouped, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend(grouped, "float64", CPU) == Choice(
        "torch", 1, "auto: the only one for float64 on cpu"
    )
    gpu = torch.device("cuda", 0)
    _uninstall(monkeypatch)
    monkeypatch.setattr(table, "why_triton_unavailable", lambda: None)
    assert choose_backend(grouped, "float16", gpu) == Choice(
        "triton", 1, "auto: the only one for float16 on cuda:0"
    )
    monkeypatch.setattr(table, "why_triton_unavailable", lambda: "there is no compiler")
    choice = choose_backend(grouped, "float32", gpu)
    assert choice.backend == "torch"
    assert "a faster one is not to be had: there is no compiler" in choice.reason
    assert choose(grouped, "bfloat16") == "openvino"


def test_a_stream_has_the_name_of_the_chosen_backend(program) -> None:
    assert open_stream(program, precision="float64").backend == (
        "torch (eager), float64 on cpu (auto: the only one for float64 on cpu)"
    )


@pytest.mark.parametrize("name", [n for n, b in BACKENDS.items() if b.package])
def test_the_error_for_a_missing_package_has_the_install_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _uninstall(monkeypatch, str(BACKENDS[name].package))
    with pytest.raises(MissingPackageError, match=rf"pip install 'co3d\[{name}\]'"):
        BACKENDS[name].open("float32", CPU, 1)


def test_a_gpu_backend_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "require_package", lambda *_, **__: None)
    assert availability.why_unavailable() is None
    monkeypatch.setattr(availability.shutil, "which", lambda _: None)
    with pytest.raises(MissingPackageError, match="triton has no C compiler"):
        BACKENDS["triton"].open("float32", CPU, 1)
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert "needs an NVIDIA GPU" in str(availability.why_unavailable())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "tensorrt"}, "expected 'auto' or one of inductor, native, onnxruntime"),
        ({"backend": "onnxruntime", "precision": "bfloat16"}, "expected one of float32, int8;"),
        ({"precision": "int3"}, "expected one of float32, float64, bfloat16"),
        ({"backend": "openvino", "device": "meta"}, "runs on cpu, got device meta"),
        ({"backend": "triton"}, "runs on cuda, got device cpu"),
        (
            {"precision": "int8"},
            "^cannot open a stream: int8 needs ranges measured on your videos; write a file with "
            "`co3d export --precision int8 --calibrate VIDEO`, and open that$",
        ),
        (
            {"precision": "float16"},
            "no backend has on cpu; expected one of float32, float64, bfloat16 there",
        ),
        ({"device": "warp"}, "cannot open a stream on device 'warp'"),
        ({"slots": 0}, "got slots=0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str, program) -> None:
    with pytest.raises(OptionError, match=message.replace("[", r"\[")):
        open_stream(program, **options)
