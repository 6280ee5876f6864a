import pytest

from co3d.backends.table import BACKENDS, Backend
from co3d.errors import OptionError
from co3d.runtime import choice
from co3d.runtime.choice import list_quick_backends, select_engines


@pytest.fixture(autouse=True)
def _add_a_backend_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Backend(("float32",), ("cuda",), BACKENDS["torch"].open)
    monkeypatch.setattr(choice, "BACKENDS", {**BACKENDS, "there": there})
    monkeypatch.setattr(choice, "is_ready", lambda name: True)


def test_engines_fit_the_device():
    names = ["native", "torch", "there"]
    assert select_engines(names, ["float32"]) == (("native", "float32"), ("torch", "float32"))
    there = select_engines(names, ["float32", "float64"], "cuda")
    assert there == (("torch", "float32"), ("torch", "float64"), ("there", "float32"))


@pytest.mark.parametrize(("backend", "device"), [("there", "cpu"), ("native", "cuda")])
def test_a_backend_for_another_device_is_not_an_engine(backend, device):
    with pytest.raises(OptionError, match=f"none of {backend} .* float32 on {device}"):
        select_engines([backend], ["float32"], device)


def test_quick_backends_fit_the_device():
    assert set(list_quick_backends()) == {"native", "openvino", "onnxruntime", "torch"}
    assert set(list_quick_backends("cuda")) == {"torch", "triton", "there"}
