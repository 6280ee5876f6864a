import dataclasses
import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import co3d
from co3d.errors import ExportedFileError, ExportError, OptionError, SourceNotFoundError
from co3d.export.artefact import SUFFIXES
from co3d.runtime import Snapshot
from support.networks import stem
from support.streaming import randomise_, relative_error

# Per precision: rounding of float32, of bfloat16's 8 bits over a dozen layers.
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}
READERS = {
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
    "torch": ("torch", "native", "onnxruntime", "openvino"),
}
KINDS = [
    ("onnx", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("torch", "float32"),
]


def run(program, frames: list[Tensor], **options) -> Tensor:
    stream = co3d.open_stream(program, **options)
    results = [stream.step(frame) for frame in frames]
    return torch.cat([result.output for result in [*results, *stream.flush()]])


@pytest.mark.parametrize(("kind", "precision"), KINDS)
def test_steps_and_flush_of_the_file_equal_those_of_the_program(
    tmp_path, model, program, frames, kind, precision
):
    path = tmp_path / f"network{SUFFIXES[kind]}"
    co3d.export_program(program, path, format=kind, card=model.card, precision=precision)
    artefact = co3d.load_program(path)
    assert artefact.card == model.card
    expected = run(program, frames, backend="torch")
    for backend in READERS[kind]:
        actual = run(artefact.program, frames, backend=backend)
        assert actual.shape == expected.shape
        assert relative_error(actual, expected) <= TOLERANCES[precision]
    for name in (
        "delay",
        "receptive_field",
        "first_valid_step",
        "state_bytes",
        "window",
        "clip_macs",
    ):
        assert getattr(artefact.program, name) == getattr(program, name)


@pytest.mark.parametrize("edges", ["start", "none"])
def test_files_without_edges_equal_their_programs(tmp_path, model, frames, edges):
    """Without edges a graph has no clock input between frames and past."""
    program = co3d.convert(model, model.card.clip_shape, edges=edges)
    path = tmp_path / "network.onnx"
    co3d.export_program(program, path, format="onnx")
    stored = co3d.load_program(path).program
    expected = run(program, frames, backend="torch")
    assert relative_error(run(stored, frames, backend="onnxruntime"), expected) <= 1e-5


def test_slots_of_a_file_are_independent(tmp_path, program, frames):
    path = tmp_path / "network.onnx"
    co3d.export_program(program, path, format="onnx", slots=2)
    both = co3d.open_stream(co3d.load_program(path).program, backend="onnxruntime")
    alone = co3d.open_stream(program, backend="torch")
    assert both.slots == 2
    for i, frame in enumerate(frames):
        late = torch.tensor([i % 3 > 0, i >= 4])
        made = both.step(frame.expand(2, -1, -1, -1), active=late)
        if i >= 4:  # the second slot sees what the stream of one slot sees
            assert relative_error(made.output[1], alone.step(frame).output[0]) <= 1e-5


def test_torch_files_keep_every_phase_of_a_native_rate(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(stem(), nn.Conv3d(4, 4, (3, 3, 3), (2, 1, 1), 1), nn.ReLU())
    native = co3d.convert(randomise_(network), (3, 8, 6, 6), rate="native", edges="both")
    assert len(native.phases) > 1
    path = tmp_path / "native.safetensors"
    co3d.export_program(native, path, format="torch")
    steps = [torch.randn(1, 3, 6, 6) for _ in range(13)]
    again = co3d.load_program(path).program
    assert torch.equal(run(again, steps, backend="torch"), run(native, steps, backend="torch"))
    with pytest.raises(ExportError, match="native rate"):
        co3d.export_program(native, tmp_path / "native.onnx", format="onnx")


def test_a_snapshot_of_the_program_continues_in_its_file(tmp_path, program, frames):
    path = tmp_path / "network.onnx"
    co3d.export_program(program, path, format="onnx")
    first = co3d.open_stream(program, backend="torch")
    for frame in frames[:9]:
        first.step(frame)
    saved = tmp_path / "stream.snapshot"
    first.snapshot().save(saved)
    second = co3d.open_stream(co3d.load_program(path).program, backend="onnxruntime")
    second.restore(Snapshot.load(saved))
    for frame in frames[9:]:
        assert relative_error(second.step(frame).output, first.step(frame).output) <= 1e-5


def test_a_file_has_a_fixed_precision_and_number_of_slots(tmp_path, program):
    path = tmp_path / "network.onnx"
    co3d.export_program(program, path, format="onnx")
    stored = co3d.load_program(path).program
    for option in ({"slots": 3}, {"precision": "bfloat16"}, {"backend": "torch"}):
        with pytest.raises(OptionError):
            co3d.open_stream(stored, **option)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.onnx", {"format": "torch"}),
        ("a.onnx", {"format": "tensorrt"}),
        ("a.onnx", {"format": "onnx", "precision": "bfloat16"}),
        ("a.onnx", {"format": "onnx", "precision": "int8"}),
        ("a.onnx", {"format": "onnx", "slots": 0}),
        ("a.safetensors", {"format": "torch", "precision": "int8"}),
    ],
)
def test_options_out_of_range_write_nothing(tmp_path, program, name, options):
    with pytest.raises(OptionError):
        co3d.export_program(program, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_float64_programs_are_refused(tmp_path, model):
    double = co3d.convert(co3d.create_model("camera_motion").double(), model.card.clip_shape)
    with pytest.raises(ExportError, match="float32"):
        co3d.export_program(double, tmp_path / "a.onnx", format="onnx")


def test_a_failed_export_keeps_the_previous_file(tmp_path, program, monkeypatch):
    path = tmp_path / "network.xml"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("co3d.export.artefact.write_openvino_file", fail)
    with pytest.raises(RuntimeError):
        co3d.export_program(program, path, format="openvino")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_files_of_another_kind_are_refused(tmp_path, suffix):
    path = tmp_path / f"network{suffix}"
    with pytest.raises(SourceNotFoundError):
        co3d.load_program(path)
    for content in (b"", b"\x00" * 100, b"not a network"):
        path.write_bytes(content)
        path.with_suffix(".bin").write_bytes(b"")
        with pytest.raises(ExportedFileError):
            co3d.load_program(path)


def test_onnx_without_a_description_is_refused(tmp_path, program):
    path = tmp_path / "network.onnx"
    co3d.export_program(program, path, format="onnx")
    bare = onnx.load(path)
    del bare.metadata_props[:]
    onnx.save(bare, path)
    with pytest.raises(ExportedFileError, match="description"):
        co3d.load_program(path)


def test_openvino_without_its_weights_is_refused(tmp_path, program):
    path = tmp_path / "network.xml"
    co3d.export_program(program, path, format="openvino")
    path.with_suffix(".bin").unlink()
    with pytest.raises(ExportedFileError, match=r"network\.bin"):
        co3d.load_program(path)


def test_a_file_is_valid_onnx_with_states_as_inputs_and_outputs(tmp_path, program, model):
    path = tmp_path / "network.onnx"
    text = co3d.export_program(program, path, format="onnx", card=model.card)
    file = onnx.load(Path(path))
    onnx.checker.check_model(file, full_check=True)
    about = json.loads(text)
    assert about == json.loads(next(p.value for p in file.metadata_props if p.key == "co3d"))
    inputs = {value.name for value in file.graph.input}
    outputs = {value.name for value in file.graph.output}
    assert inputs == {"frame", "age", "end"}.union(*(s["inputs"] for s in about["states"]))
    assert outputs == {"output"} | {state["output"] for state in about["states"]}
    assert about["card"]["labels"] == list(model.card.labels)
    assert dataclasses.asdict(model.card)["rate_hz"] == about["card"]["rate_hz"]


def test_weights_that_share_memory_are_saved_separately(tmp_path):
    """safetensors refuses tensors that share memory."""

    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 3, 3, 3, 3))

        def forward(self, clip: Tensor) -> Tensor:
            first = nn.functional.conv3d(clip, self.weight[:5], padding=1)
            second = nn.functional.conv3d(clip, self.weight[3:], padding=1)
            return first * second

    program = co3d.convert(Sliced().eval(), (3, 4, 6, 6))
    path = tmp_path / "network.safetensors"
    co3d.export_program(program, path, format="torch")
    steps = [torch.randn(1, 3, 6, 6) for _ in range(6)]
    again = co3d.load_program(path).program
    assert torch.equal(run(again, steps, backend="torch"), run(program, steps, backend="torch"))
