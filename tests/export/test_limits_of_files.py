"""Untrusted files: operators that do not check their inputs, and sizes beyond memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import co3d
from co3d.errors import ExportedFileError, OutputError
from co3d.export import operators
from support.networks import stem

SHAPE = (3, 4, 6, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network in both formats."""
    program = co3d.convert(nn.Sequential(stem(), nn.Conv3d(4, 4, 3, padding=1)), SHAPE)
    folder = tmp_path_factory.mktemp("files")
    co3d.export_program(program, folder / "a.onnx", format="onnx")
    co3d.export_program(program, folder / "a.safetensors", format="torch")
    return folder


def rewrite(
    folder: Path, path: Path, change: Callable[[dict[str, Any], list[dict[str, Any]]], object]
) -> Path:
    """A copy of the safetensors file whose description and phases were changed."""
    with safe_open(folder / "a.safetensors", framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description, phases = json.loads(metadata["co3d"]), json.loads(metadata["co3d.phases"])
    change(description, phases)
    metadata |= {"co3d": json.dumps(description), "co3d.phases": json.dumps(phases)}
    save_file(tensors, path, metadata)
    return path


def insert(function: str, *args: Any, **kwargs: Any) -> Callable[[Any, Any], None]:
    """Insert a call at the end of the first graph, whose result is not used."""

    def change(_: dict[str, Any], phases: list[dict[str, Any]]) -> None:
        rows = phases[0]["steady"]
        row = ["call_function", function, {"tuple": list(args)}, {"mapping": kwargs}]
        rows.insert(len(rows) - 1, row)

    return change


FRAME = {"node": 0}


@pytest.mark.parametrize(
    "function",
    [
        "aten._ctc_loss.default",
        "aten.ctc_loss.IntList",
        "aten.segment_reduce.default",
        "aten._segment_reduce_backward.default",
        "aten._embedding_bag.default",
        "aten.as_strided.default",
        "aten.as_strided_copy.default",
        "aten._sparse_csr_sum.dim_dtype",
        "aten.max_pool2d_with_indices_backward.default",
        "aten.sigmoid_backward.default",
        "aten.convolution_backward.default",
        "aten.special_laguerre_polynomial_l.default",
        "aten.special_legendre_polynomial_p.default",
        "aten.mvlgamma.default",
        "aten._local_scalar_dense.default",
        "aten.record_stream.default",
        "aten.set_.source_Storage",
        "aten.mul_.Tensor",
        "aten.mul.out",
        "aten.rand.default",
        "prims.add.default",
        "torch.compile",
    ],
)
def test_operators_that_no_step_needs_are_refused(
    function: str, folder: Path, tmp_path: Path
) -> None:
    path = rewrite(folder, tmp_path / "b.safetensors", insert(function, FRAME))
    with pytest.raises(ExportedFileError, match="is not a function of step graphs"):
        co3d.load_program(path)


def test_allowed_operators_write_to_no_argument() -> None:
    for name in operators._list_allowed():
        packet = getattr(torch.ops.aten, name)
        assert not name.endswith("_")
        assert "backward" not in name
        for overload in packet.overloads():
            found = operators.find_operator(f"aten.{name}.{overload}")
            assert found is None or not found._schema.is_mutable


@pytest.mark.parametrize("spelling", ["out", "\uff4f\uff55\uff54", "o\uff55t"])
@pytest.mark.parametrize("function", ["torch.mul", "aten.mul", "aten.mul.Tensor"])
def test_out_arguments_are_refused_however_they_are_passed(
    function: str, spelling: str, folder: Path, tmp_path: Path
) -> None:
    change = insert(function, FRAME, 2.0, **{spelling: FRAME})
    path = rewrite(folder, tmp_path / "b.safetensors", change)
    with pytest.raises(ExportedFileError, match=r"would change its argument|expected a name"):
        co3d.load_program(path)


BOMBS = {
    "repeat": insert("aten.repeat.default", FRAME, [1, 1, 10**4, 10**5]),
    "pad": insert("functional.pad", FRAME, [0, 10**6, 0, 10**6]),
    "expand": insert("aten.expand.default", FRAME, [10**9, 3, 6, 6]),
    "enlarge": insert("aten.upsample_nearest2d.vec", FRAME, [10**5, 10**5], None),
    "zeros": insert("aten.zeros.default", [10**6, 10**6]),
    "range": insert("aten.arange.default", 10**12),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_values_that_are_too_large_are_refused(bomb: str, folder: Path, tmp_path: Path) -> None:
    path = rewrite(folder, tmp_path / "b.safetensors", BOMBS[bomb])
    with pytest.raises(ExportedFileError, match=r"takes \d+ bytes, expected at most"):
        co3d.load_program(path)


def test_values_that_are_too_large_together_are_refused(folder: Path, tmp_path: Path) -> None:
    def keep_many(description: dict[str, Any], phases: list[dict[str, Any]]) -> None:
        first, count = len(phases[0]["steady"]) - 1, 40
        for _ in range(count):
            insert("aten.zeros.default", [15 * 10**6])(description, phases)
        for i in range(count):
            last = {"node": first + count - 1 + i}
            insert("aten.add.Tensor", last, {"node": first + i})(description, phases)

    path = rewrite(folder, tmp_path / "b.safetensors", keep_many)
    with pytest.raises(ExportedFileError, match=r"values take 2\d{9} bytes at once, expected"):
        co3d.load_program(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda d, _: d["states"][0].update(shape=[10**5, 10**5]),
        lambda d, _: d.update(frame_shapes=[[3, 10**6, 10**6]]),
        lambda d, _: d.update(output_shapes=[[10**6, 10**6]]),
    ],
)
def test_state_that_is_too_large_is_refused(change: Callable, folder: Path, tmp_path: Path) -> None:
    path = rewrite(folder, tmp_path / "b.safetensors", change)
    with pytest.raises(ExportedFileError, match=r"state take \d+ bytes, expected at most"):
        co3d.load_program(path)


def test_the_limit_can_be_raised_for_trusted_files(folder: Path) -> None:
    path = folder / "a.safetensors"
    with pytest.raises(ExportedFileError, match="most_bytes"):
        co3d.load_program(path, most_bytes=1000)
    assert co3d.load_program(path, most_bytes=None).program.frame_shape == (3, 6, 6)


def move_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")
    tensor.external_data.add(key="offset", value="94000000000000")


def hide_deep(model: onnx.ModelProto) -> None:
    """Put external data in a constant of a subgraph."""
    value = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0])
    value.ClearField("float_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="weights.bin")
    constant = helper.make_node("Constant", [], ["w"], value=value)
    branch = helper.make_graph([constant], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=branch))


@pytest.mark.parametrize("change", [move_outside, hide_deep])
def test_weights_outside_of_a_file_are_refused(
    change: Callable[[onnx.ModelProto], None], folder: Path, tmp_path: Path
) -> None:
    model = onnx.load(folder / "a.onnx")
    change(model)
    path = tmp_path / "b.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError, match="keeps weights outside of itself"):
        co3d.load_program(path)


def test_a_failed_export_keeps_both_previous_files_of_openvino(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a full disk, which OpenVINO reports as a RuntimeError."""
    import openvino

    path = tmp_path / "a.xml"
    program = co3d.convert(stem(), SHAPE)
    co3d.export_program(program, path, format="openvino")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"a.xml", "a.bin"}
    save = openvino.save_model

    def fail(*args: Any, **options: Any) -> None:
        save(*args, **options)
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", fail)
    with pytest.raises(OutputError, match=r"OpenVINO failed \(basic_ios"):
        co3d.export_program(co3d.convert(nn.Conv3d(3, 4, 1), SHAPE), path, format="openvino")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
