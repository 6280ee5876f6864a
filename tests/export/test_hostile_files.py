"""Files whose content contradicts their description."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import co3d
from co3d.errors import ExportedFileError, StreamError
from support.networks import stem
from support.streaming import randomise_

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small network with state, in each format."""
    torch.manual_seed(0)
    network = nn.Sequential(stem(), nn.Conv3d(4, 4, 3, padding=1))
    program = co3d.convert(randomise_(network), (3, 4, 6, 6), edges="both")
    folder = tmp_path_factory.mktemp("files")
    paths = {"onnx": folder / "a.onnx", "torch": folder / "a.safetensors"}
    for kind, path in paths.items():
        co3d.export_program(program, path, format=kind)
    return paths


def _open_torch(path: Path) -> tuple[list[dict[str, Any]], Callable[[Path], None]]:
    """The phases of a file, and a function that writes the file with changed phases."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    phases = json.loads(metadata["co3d.phases"])

    def write(to: Path) -> None:
        save_file(tensors, to, {**metadata, "co3d.phases": json.dumps(phases)})

    return phases, write


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["states"].pop(),
        lambda d: d["states"][0].update(shape=[1, 1, 1]),
        lambda d: d["states"][0].update(shape=[10**5, 10**5, 10**5]),
        lambda d: d["states"][0].update(dtype="int64", fill="0"),
        lambda d: d["states"][0].update(inputs=["x"]),
        lambda d: d.update(frame_shapes=[[3, 4, 4]]),
        lambda d: d.update(frame_shapes=[]),
        lambda d: d.update(output_shapes=[[4, 2, 2]]),
        lambda d: d.update(output_shapes=[[4], [4]], output_structure={"list": [None, None]}),
        lambda d: d.update(slots=3),
        lambda d: d.update(slots=0),
        lambda d: d.update(edges="none"),
        lambda d: d["timing"].update(delay=10**30),
        lambda d: d.update(masked_steps=10**9),
    ],
)
def test_descriptions_that_do_not_fit_the_graph_are_refused(
    files: dict[str, Path], tmp_path: Path, change: Change, backend: str
) -> None:
    model = onnx.load(files["onnx"])
    description = json.loads(model.metadata_props[0].value)
    change(description)
    model.metadata_props[0].value = json.dumps(description)
    path = tmp_path / "b.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError):
        co3d.open_stream(co3d.load_program(path).program, backend=backend)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_graphs_that_do_not_fit_the_description_are_refused(
    files: dict[str, Path], tmp_path: Path, backend: str
) -> None:
    def rename(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for i, name in enumerate(node.input):
                if name == "frame":
                    node.input[i] = "picture"
        model.graph.input[0].name = "picture"

    def forget(model: onnx.ModelProto) -> None:
        model.graph.output.pop()

    def misname(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Nonsense"

    for change in (rename, forget, misname):
        model = onnx.load(files["onnx"])
        change(model)
        path = tmp_path / "b.onnx"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ExportedFileError, match="export the network again"):
            co3d.open_stream(co3d.load_program(path).program, backend=backend)


@pytest.mark.parametrize(
    "change",
    [
        lambda phase: phase.update(updates=[99]),
        lambda phase: phase.update(updates=[-1]),
        lambda phase: phase.update(updates=[]),
        lambda phase: phase.update(masked=None),
        lambda phase: phase["steady"][0].__setitem__(1, "class"),
        lambda phase: phase["steady"][1].__setitem__(1, phase["steady"][0][1]),
        lambda phase: phase.update(steady=[]),
        lambda phase: phase["steady"].pop(),
        lambda phase: phase.update(macs=float("inf")),
        lambda phase: next(r for r in phase["steady"] if r[0] == "call_function").__setitem__(2, 1),
    ],
)
def test_torch_files_whose_graphs_do_not_fit_are_refused(
    files: dict[str, Path], tmp_path: Path, change: Change
) -> None:
    phases, write = _open_torch(files["torch"])
    change(phases[0])
    path = tmp_path / "b.safetensors"
    write(path)
    with pytest.raises(ExportedFileError):
        co3d.open_stream(co3d.load_program(path).program, backend="torch")


@pytest.mark.parametrize(
    "row",
    [
        ["aten.mul", {"out": {"node": 0}}],
        ["torch.mul", {"out": {"node": 0}}],
        ["aten.frexp", {"mantissa": {"node": 0}}],
    ],
)
def test_operators_cannot_write_to_their_arguments(
    files: dict[str, Path], tmp_path: Path, row: list
) -> None:
    phases, write = _open_torch(files["torch"])
    function, options = row
    arguments = {"tuple": [{"node": 0}, 2.0][: 1 if "frexp" in function else 2]}
    rows = phases[0]["steady"]
    rows.insert(len(rows) - 1, ["call_function", function, arguments, {"mapping": options}])
    path = tmp_path / "b.safetensors"
    write(path)
    with pytest.raises(ExportedFileError, match="would change its argument"):
        co3d.load_program(path)


def test_unreadable_files_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    for kind, path in files.items():
        folder = tmp_path / kind
        folder.mkdir()
        copy = folder / path.name
        copy.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ExportedFileError, match="cannot read"):
            co3d.load_program(copy)


def test_damaged_snapshots_leave_the_stream_as_it_was(
    files: dict[str, Path], tmp_path: Path
) -> None:
    stream = co3d.open_stream(co3d.load_program(files["torch"]).program, backend="torch")
    for _ in range(4):
        stream.step(torch.randn(1, 3, 6, 6))
    good = stream.snapshot()
    first, *_, last = good.tensors
    damaged = {
        "nothing for": {last: None},
        "expected": {last: good.tensors[last][:, :1]},
        "int64": {last: good.tensors[last].long()},
        "of age -5": {"age": -5},
        f"of age {10**30}": {"age": 10**30},
    }
    for message, change in damaged.items():
        tensors = {name: torch.full_like(t, 7.0) for name, t in good.tensors.items()}
        age = change.get("age", good.age)
        tensors.update({n: t for n, t in change.items() if n != "age" and t is not None})
        if change.get(last, 0) is None:
            del tensors[last]
        with pytest.raises(StreamError, match=message):
            stream.restore(co3d.Snapshot(tensors, age, good.end, good.fingerprint))
        assert torch.equal(stream.snapshot().tensors[first], good.tensors[first])
    for clock in ("null", "[]", '{"age": Infinity, "end": 1}', "[" * 100_000):
        path = tmp_path / "snapshot"
        header = {"format": "co3d snapshot 1", "clock": clock, "fingerprint": "x"}
        save_file(good.tensors, path, header)
        with pytest.raises(StreamError, match="cannot restore from"):
            co3d.Snapshot.load(path)
