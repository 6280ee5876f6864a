"""ONNX files that would keep a runtime busy, or exhaust memory, are refused before it sees them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import co3d
from co3d.errors import ExportedFileError
from co3d.export.onnx_limits import check_onnx
from support.networks import stem

SHAPE = (3, 4, 6, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, a.onnx."""
    folder = tmp_path_factory.mktemp("files")
    program = co3d.convert(stem(), SHAPE)
    co3d.export_program(program, folder / "a.onnx", format="onnx")
    return folder


def add(kind: str, *inputs: np.ndarray, outputs: int = 1, **attributes: object) -> Callable:
    """A change that adds a node with constant inputs."""

    def change(model: onnx.ModelProto) -> None:
        names = [f"given{i}" for i in range(len(inputs))]
        for name, value in zip(names, inputs, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(value, name))
        made = [f"made{i}" for i in range(outputs)]
        model.graph.node.append(helper.make_node(kind, names, made, **attributes))

    return change


def loop() -> onnx.GraphProto:
    """A body that goes on for ever."""
    values = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", TensorProto.INT64), ("c", TensorProto.BOOL))
    ]
    body = helper.make_node("Identity", ["c"], ["again"])
    again = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    return helper.make_graph([body], "body", values, [again])


def declare_sizes(model: onnx.ModelProto) -> None:
    """Declare a small shape for a value whose size depends on numbers."""
    add("Range", *(np.array(n) for n in (0, 10**12, 1)))(model)
    model.graph.node[-1].input[1] = "counted"
    first = model.graph.input[0].name
    model.graph.node.insert(0, helper.make_node("ReduceSum", [first], ["summed"], keepdims=0))
    model.graph.node.insert(1, helper.make_node("Cast", ["summed"], ["counted"], to=7))
    model.graph.value_info.append(helper.make_tensor_value_info("made0", TensorProto.INT64, [3]))


ONE = np.ones((), np.float32)
HUGE = np.array([10**5, 10**5])


def keep_many(model: onnx.ModelProto) -> None:
    """Forty values of 60 MB that are all needed in the end."""
    size = numpy_helper.from_array(np.array([15 * 10**6]), "large")
    model.graph.initializer.extend([size, numpy_helper.from_array(np.ones(1, np.float32), "one")])
    names = [f"kept{i}" for i in range(40)]
    for name in names:
        model.graph.node.append(helper.make_node("Expand", ["one", "large"], [name]))
    model.graph.node.append(helper.make_node("Sum", names, ["sum of all"]))


BOMBS = {
    "many": (keep_many, r"take 24\d{8} bytes at once, expected at most 1073741824"),
    "Expand": (add("Expand", ONE, HUGE), "takes 40000000000 bytes"),
    "Tile": (add("Tile", np.ones((1, 1), np.float32), HUGE), "takes 40000000000 bytes"),
    "ConstantOfShape": (add("ConstantOfShape", HUGE), "takes 40000000000 bytes"),
    "Range": (add("Range", *(np.array(n) for n in (0, 10**12, 1))), "takes 8000000000000 bytes"),
    "Pad": (
        add("Pad", np.ones((1, 1), np.float32), np.array([0, 0, 10**5, 10**5])),
        r"takes \d{11} bytes",
    ),
    "declared": (declare_sizes, "may be of any size"),
    "Loop": (add("Loop", np.array(10**18), np.array(True), body=loop()), "it has Loop"),
    "NonZero": (add("NonZero", ONE), "it has NonZero"),
    "Random": (add("RandomNormal", shape=[10**6, 10**6]), "it has RandomNormal"),
    "graph": (add("Identity", ONE, body=loop()), "it has a graph in a node"),
    "domain": (
        lambda m: m.graph.node.append(helper.make_node("Add", [], [], domain="x")),
        "it has Add",
    ),
}


def compute_indices(model: onnx.ModelProto) -> None:
    """Indices that depend on the frame."""
    add("GatherND", np.ones((4, 4), np.float32), np.array([[0]]))(model)
    model.graph.node[-1].input[1] = "places"
    first = model.graph.input[0].name
    model.graph.node.insert(0, helper.make_node("ReduceSum", [first], ["summed"], keepdims=0))
    model.graph.node.insert(1, helper.make_node("Cast", ["summed"], ["count"], to=7))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1]), "sizes"))
    model.graph.node.insert(2, helper.make_node("Reshape", ["count", "sizes"], ["places"]))


LEAST = np.array([-(2**63)])
FOUR, MAP = np.ones((4, 4), np.float32), np.ones((1, 1, 4, 4), np.float32)
LONG, COLUMN = np.ones(40_000, np.float32), np.ones((40_000, 1), np.float32)
# These end the process, read beyond a value, or go on for hours.
TRUSTED = {
    "Div": (add("Div", LEAST, np.array([-1])), "integers that it divides"),
    "Mod": (add("Mod", LEAST, np.array([0]), fmod=1), "integers that it divides"),
    "Gather": (add("Gather", FOUR, np.array([4])), "lead beyond"),
    "GatherElements": (add("GatherElements", FOUR, np.array([[-5]]), axis=1), "lead beyond"),
    "GatherND": (add("GatherND", FOUR, np.array([[10**12]])), "lead beyond"),
    "ScatterND": (add("ScatterND", FOUR, np.array([[0, 4]]), FOUR[0, :1]), "lead beyond"),
    "computed": (compute_indices, "indices that it computes"),
    "AveragePool": (
        add("AveragePool", MAP, kernel_shape=[2**40] * 2, pads=[2**39] * 4),
        "a window of over 68",
    ),
    "ConvTranspose": (
        add("ConvTranspose", MAP, MAP, strides=[2**30] * 2, pads=[2**30] * 2 + [2**31] * 2),
        "a window of over 68",
    ),
    "CumSum": (add("CumSum", FOUR, np.array(2)), "an axis that it computes, or that"),
    "empty": (add("CumSum", FOUR[:0], np.array(0)), "an empty value"),
    "LRN": (add("LRN", MAP, size=10**9 + 1), "a window of over 68"),
    "Einsum": (
        add("Einsum", LONG, LONG, COLUMN, COLUMN, equation="a,b,ac,bc->"),
        "values of 12800000000 bytes on the way",
    ),
}


@pytest.mark.parametrize("bomb", [*BOMBS, *TRUSTED])
def test_dangerous_graphs_of_onnx_are_refused(bomb: str, folder: Path, tmp_path: Path) -> None:
    change, message = (BOMBS | TRUSTED)[bomb]
    model = onnx.load(folder / "a.onnx")
    change(model)
    path = tmp_path / "b.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportedFileError, match=message):
        co3d.load_program(path)


@pytest.mark.parametrize(
    "change",
    [
        add("Div", LEAST, np.array([2])),
        add("Div", FOUR, FOUR),
        add("CumSum", FOUR, np.array(-2)),
        add("Gather", FOUR, np.array([-4, 3]), axis=-1),
        add("GatherND", FOUR, np.array([[3, -1]])),
        add("ScatterND", FOUR, np.array([[0, 3]]), FOUR[0, :1]),
        add("MaxPool", MAP, kernel_shape=[4, 4], pads=[2, 2, 2, 2]),
        add("Conv", MAP, np.ones((1, 1, 3, 3), np.float32), pads=[36] * 4, dilations=[36] * 2),
        add("Einsum", FOUR, FOUR, FOUR, equation="ab,bc,cd->ad"),
    ],
)
def test_harmless_operators_are_run(change: Callable, folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "a.onnx")
    change(model)
    path = tmp_path / "b.onnx"
    path.write_bytes(model.SerializeToString())
    assert co3d.load_program(path).program.frame_shape == (3, 6, 6)


@pytest.mark.parametrize("name", [b"frame", b"input_1"])
def test_names_that_are_not_text_are_refused(name: bytes, folder: Path, tmp_path: Path) -> None:
    content = (folder / "a.onnx").read_bytes()
    assert name in content
    path = tmp_path / "b.onnx"
    path.write_bytes(content.replace(name, b"\xff" * len(name)))
    with pytest.raises(ExportedFileError, match="cannot read"):
        co3d.load_program(path)


def test_functions_and_sparse_constants_are_refused(folder: Path) -> None:
    for change in (
        lambda m: m.functions.add(name="f", domain="x"),
        lambda m: m.graph.sparse_initializer.add(),
    ):
        model = onnx.load(folder / "a.onnx")
        change(model)
        with pytest.raises(ExportedFileError, match="which no step graph needs"):
            check_onnx(model, "a", 1 << 30)
