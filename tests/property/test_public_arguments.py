"""Wrong arguments of public functions are errors that say so, whatever their type or shape."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import co3d
from co3d.errors import Co3dError

CLIP = (3, 4, 8, 8)


class Opened:
    """A small network, and what the public functions make of it."""

    def __init__(self, folder: Path) -> None:
        self.model = nn.Sequential(
            nn.Conv3d(3, 2, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten()
        ).eval()
        self.model.card = co3d.ModelCard("own", 4, 8.0, 8, 8, (0, 0, 0), (1, 1, 1))
        self.program = co3d.convert(self.model, CLIP)
        self.stream = co3d.open_stream(self.program, backend="torch", slots=2)
        self.compiled = self.stream.compiled
        self.slot = self.compiled.open()
        self.video = folder / "absent.mp4"
        self.out = folder / "out.safetensors"
        co3d.export_program(self.program, self.out, format="torch")

    def list_calls(self) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
        """Each public function with arguments that are right."""
        stream, frames = self.stream, torch.zeros(2, *CLIP[:1], *CLIP[2:])
        return {
            "Client": (co3d.Client, {"url": "http://127.0.0.1:9", "timeout_seconds": 1.0}),
            "compile": (co3d.compile, {"program": self.program, "backend": "torch"}),
            "convert": (co3d.convert, {"model": self.model, "clip_shape": CLIP}),
            "create_model": (co3d.create_model, {"name": "camera_motion", "weights": "random"}),
            "export_program": (
                co3d.export_program,
                {"program": self.program, "path": self.out, "format": "torch"},
            ),
            "get_card": (co3d.get_card, {"name": "camera_motion"}),
            "label_video": (co3d.label_video, {"source": self.video}),
            "list_models": (co3d.list_models, {}),
            "load_program": (co3d.load_program, {"path": self.out}),
            "open_labeller": (co3d.open_labeller, {"model": self.model, "backend": "torch"}),
            "open_stream": (co3d.open_stream, {"program": self.program, "backend": "torch"}),
            "read_in_sandbox": (_open_sandbox, {"limits": co3d.SandboxLimits()}),
            "SandboxLimits": (co3d.SandboxLimits, {"memory_bytes": 2**30, "cpu_seconds": 60}),
            "read_video": (co3d.read_video, {"source": self.video}),
            "register_model": (co3d.register_model, {"card": self.model.card}),
            "sample_video": (co3d.sample_video, {}),
            "verify": (co3d.verify, {"model": None, "clip_shape": CLIP}),
            "Engine": (_start_engine, {"compiled": self.compiled, "card": self.model.card}),
            "ModelCard": (co3d.ModelCard, dict(vars(self.model.card))),
            "VideoWriter": (co3d.VideoWriter, {"path": "absent/a.mp4", "rate_hz": 25.0}),
            "Stream.step": (stream.step, {"frames": frames}),
            "Stream.flush": (stream.flush, {}),
            "Stream.reset": (stream.reset, {}),
            "Stream.snapshot": (stream.snapshot, {}),
            "Stream.restore": (stream.restore, {"snapshot": stream.snapshot()}),
            "Slot.restore": (self.slot.restore, {"snapshot": stream.snapshot()}),
            "Snapshot.load": (co3d.Snapshot.load, {"path": self.out}),
            "Snapshot.save": (stream.snapshot().save, {"path": self.out}),
            "CompiledProgram.step": (
                self.compiled.step,
                {"slots": [self.slot], "frames": frames[:1]},
            ),
            "ModelCard.preprocess": (
                self.model.card.preprocess,
                {"image": np.zeros((8, 8, 3), np.uint8)},
            ),
            "ModelCard.probabilities": (self.model.card.probabilities, {"logits": frames}),
        }


def _start_engine(**arguments: Any) -> None:
    co3d.Engine(**arguments).close()


def _open_sandbox(**arguments: Any) -> None:
    with co3d.read_in_sandbox(**arguments):
        pass


# What carries no arguments that a user gives.
RESULTS = {
    *("Artefact", "CompiledProgram", "Labeller", "Prediction", "Slot", "Snapshot", "StepProgram"),
    *("StepResult", "Stream", "Track", "Verification", "VideoFrame", "Co3dError", "errors"),
}
WRONG = {
    "nothing": None,
    "a negative number": -1,
    "a fraction": 0.5,
    "not a number": float("nan"),
    "a word": "wrong",
    "bytes": b"wrong",
    "an empty list": [],
    "a list of lists": [(3, 4, 8), [None]],
    "a dictionary": {"a": 1},
    "an object": object(),
    "a function": lambda: None,
    "a class": nn.Conv3d,
    "a clip network": nn.ReLU(),
    "an array": np.zeros((2, 3, 8, 7), np.float32),
    "an array of words": np.array(["a"]),
    "an array without dimensions": np.zeros(()),
    "a tensor of bytes": torch.zeros(2, dtype=torch.int8),
    "a sparse tensor": torch.zeros(2, 3, 8, 8).to_sparse(),
    "a tensor without dimensions": torch.zeros(()),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("public"))


def test_all_public_functions_are_tried(opened: Opened) -> None:
    assert {name.partition(".")[0] for name in opened.list_calls()} | RESULTS >= set(co3d.__all__)
    assert set(dir(co3d)) == {*co3d.__all__, "__version__"}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_argument_is_an_error_that_says_so(
    opened: Opened, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (function, right) in opened.list_calls().items():
        for parameter in inspect.signature(function).parameters:
            if parameter == "arguments":  # of the engine
                continue
            try:
                function(**{**right, parameter: WRONG[kind]})
            except Co3dError as error:
                assert len(str(error)) < 600, (name, parameter)  # noqa: PT017
            except Exception as error:  # noqa: BLE001
                pytest.fail(f"{name}({parameter} = {kind}): {error!r}")


def test_what_to_do_is_said(opened: Opened) -> None:
    with pytest.raises(co3d.errors.OptionError, match=r"got program = a Sequential.*co3d\.convert"):
        co3d.open_stream(opened.model)  # type: ignore[arg-type]
    with pytest.raises(co3d.errors.OptionError, match="call convert: got model = None, expected"):
        co3d.convert(None, CLIP)  # type: ignore[arg-type]


def test_reprs_are_short(opened: Opened) -> None:
    found = co3d.verify(opened.model, CLIP, lengths=[])
    for value in (opened.stream.snapshot(), found, opened.stream, opened.program, opened.slot):
        assert len(repr(value)) < 250
        assert type(value).__name__ in repr(value)
    assert "passed=True" in repr(found)
