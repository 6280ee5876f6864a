"""Files that would keep ONNX Runtime or OpenVINO busy, or exhaust memory, are refused before."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import co3d
from co3d.errors import ExportedFileError
from co3d.export.onnx_limits import check_onnx
from co3d.export.openvino_limits import check_layers
from support.networks import stem

SHAPE = (3, 4, 6, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network in both formats, a.onnx and a.xml."""
    folder = tmp_path_factory.mktemp("files")
    program = co3d.convert(stem(), SHAPE)
    co3d.export_program(program, folder / "a.onnx", format="onnx")
    co3d.export_program(program, folder / "a.xml", format="openvino")
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
    """A value of a size that depends on numbers, which the file says is small."""
    add("Range", *(np.array(n) for n in (0, 10**12, 1)))(model)
    model.graph.node[-1].input[1] = "counted"
    first = model.graph.input[0].name
    model.graph.node.insert(0, helper.make_node("ReduceSum", [first], ["summed"], keepdims=0))
    model.graph.node.insert(1, helper.make_node("Cast", ["summed"], ["counted"], to=7))
    model.graph.value_info.append(helper.make_tensor_value_info("made0", TensorProto.INT64, [3]))


ONE = np.ones((), np.float32)
HUGE = np.array([10**5, 10**5])
BOMBS = {
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


def compute_places(model: onnx.ModelProto) -> None:
    """Places that depend on the frame."""
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
    "computed": (compute_places, "indices that it computes"),
    "AveragePool": (
        add("AveragePool", MAP, kernel_shape=[2**40] * 2, pads=[2**39] * 4),
        "a window of over 68",
    ),
    "ConvTranspose": (
        add("ConvTranspose", MAP, MAP, strides=[2**30] * 2, pads=[2**30] * 2 + [2**31] * 2),
        "a window of over 68",
    ),
    "LRN": (add("LRN", MAP, size=10**9 + 1), "a window of over 68"),
    "Einsum": (
        add("Einsum", LONG, LONG, COLUMN, COLUMN, equation="a,b,ac,bc->"),
        "values of 12800000000 bytes on the way",
    ),
}


@pytest.mark.parametrize("bomb", [*BOMBS, *TRUSTED])
def test_graphs_of_onnx_that_take_or_trust_too_much_are_refused(
    bomb: str, folder: Path, tmp_path: Path
) -> None:
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
        add("Gather", FOUR, np.array([-4, 3]), axis=-1),
        add("GatherND", FOUR, np.array([[3, -1]])),
        add("ScatterND", FOUR, np.array([[0, 3]]), FOUR[0, :1]),
        add("MaxPool", MAP, kernel_shape=[4, 4], pads=[2, 2, 2, 2]),
        add("Conv", MAP, np.ones((1, 1, 3, 3), np.float32), pads=[36] * 4, dilations=[36] * 2),
        add("Einsum", FOUR, FOUR, FOUR, equation="ab,bc,cd->ad"),
    ],
)
def test_operators_that_trust_nothing_wrong_are_run(
    change: Callable, folder: Path, tmp_path: Path
) -> None:
    model = onnx.load(folder / "a.onnx")
    change(model)
    path = tmp_path / "b.onnx"
    path.write_bytes(model.SerializeToString())
    assert co3d.load_program(path).program.frame_shape == (3, 6, 6)


@pytest.mark.parametrize("name", [b"frame", b"input_1"])
def test_names_that_are_no_text_are_refused(name: bytes, folder: Path, tmp_path: Path) -> None:
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


DIVISION = (
    '<layer id="d" type="Divide" version="opset1"><output><port id="2" precision="I64"/></output>'
    "</layer>"
)
THREE_FACTORS = (
    '<layer id="e" type="Einsum" version="opset7"><input><port id="0"/><port id="1"/>'
    '<port id="2"/></input></layer>'
)
WIDE_POOL = (
    '<layer id="p" type="MaxPool" version="opset1"><data kernel="3,2147483648" pads_begin="0,0"/>'
    "</layer>"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('type="Convolution"', 'type="TensorIterator"', "a layer 'TensorIterator'"),
        ('version="opset1"', 'version="extension"', "a layer .* of 'extension'"),
        ('type="Convolution"', 'type="GatherND"', "a layer 'GatherND'"),
        ("<layers>", f"<layers>{THREE_FACTORS}", "an Einsum of over 2 inputs"),
        ("<layers>", f"<layers>{DIVISION}", "a division of integers"),
        ("<layers>", f"<layers>{WIDE_POOL}", "a window of over 4096"),
        ("<?xml", "<!DOCTYPE net [<!ENTITY a 'b'>]><?xml", "no XML|a document type"),
        ("<layers>", "<layers><body/>", "a graph in a layer"),
        ("<layers>", "<layers>" + "<a>" * 100, "elements over 64 deep"),
        ("<layers>", "<layers><", "no XML that can be read"),
        ("<layers>", "<layers>\ud800", "no XML that can be read"),
    ],
)
def test_layers_of_openvino_that_no_step_needs_are_refused(
    old: str, new: str, message: str, folder: Path
) -> None:
    text = (folder / "a.xml").read_text()
    assert old in text
    with pytest.raises(ExportedFileError, match=message):
        check_layers(text.replace(old, new).encode(errors="surrogatepass"), "a")


def test_entities_are_not_expanded_in_any_encoding(folder: Path) -> None:
    text = (folder / "a.xml").read_text().partition("?>")[2]
    for start in ("<!DOCTYPE net [<!ENTITY a 'b'>]>", '<!DOCTYPE net SYSTEM "file:///etc/passwd">'):
        with pytest.raises(ExportedFileError, match="a document type"):
            check_layers((start + text).encode(), "a")
        with pytest.raises(ExportedFileError, match=r"a document type|no XML"):
            check_layers((start + text).encode("utf-16"), "a")


def test_values_of_openvino_that_take_too_much_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes((folder / "a.bin").read_bytes())
    text = (folder / "a.xml").read_text()
    assert 'shape="1,6,6,3"' in text
    changed = text.replace('shape="1,6,6,3"', 'shape="1,60000,60000,3"')
    (tmp_path / "b.xml").write_text(changed.replace("<dim>6</dim>", "<dim>60000</dim>"))
    with pytest.raises(
        ExportedFileError, match=r"bytes, expected at most|export the network again"
    ):
        co3d.load_program(tmp_path / "b.xml")
    changed = text.replace('shape="1,6,6,3"', 'shape="1,?,6,3"')
    (tmp_path / "b.xml").write_text(changed)
    with pytest.raises(ExportedFileError, match="of any size"):
        co3d.load_program(tmp_path / "b.xml")
