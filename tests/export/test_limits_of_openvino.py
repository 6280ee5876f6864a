"""OpenVINO files that would crash OpenVINO, keep it busy or exhaust memory are refused before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import co3d
from co3d.errors import ExportedFileError
from co3d.export.openvino_layers import check_layers
from hostile.readers.openvino_graphs import FRAME, Graph
from support.networks import stem


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The graph and the weights of a small network."""
    path = tmp_path_factory.mktemp("files") / "a.xml"
    co3d.export_program(co3d.convert(stem(), (3, 4, 6, 6)), path, format="openvino")
    return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def load(files: tuple[bytes, bytes], folder: Path) -> co3d.export.artefact.Artefact:
    (folder / "b.xml").write_bytes(files[0])
    (folder / "b.bin").write_bytes(files[1])
    return co3d.load_program(folder / "b.xml")


LEAST = -(2**63)
FOUR, COLUMN = np.ones((4, 4), np.float32), np.ones((1, 4), np.float32)
ONE = np.ones(1, np.float32)
Place = str


def add(kind: str, *inputs: object, rank: int = 2, **data: Any) -> Callable[[Graph], object]:
    """A change that adds a layer with constant inputs or `FRAME`."""
    return lambda graph: graph.finish(graph.layer(kind, *inputs, **data), rank)


def compute(graph: Graph, values: object) -> Place:
    """Values that OpenVINO cannot tell to be constant."""
    total = graph.layer("ReduceSum", FRAME, np.arange(4), version="opset1", keep_dims="false")
    zero = graph.layer(
        "Multiply", total, np.zeros((), np.float32), version="opset1", auto_broadcast="numpy"
    )
    counted = graph.layer("Convert", zero, version="opset1", destination_type="i64")
    return graph.layer("Add", counted, np.array(values), version="opset1", auto_broadcast="numpy")


def scatter(graph: Graph) -> object:
    places = compute(graph, [[0]])
    made = graph.layer(
        "ScatterElementsUpdate", FOUR, places, FOUR[:1, :1], np.array(0), version="opset3"
    )
    return graph.finish(made, 2)


def keep_many(graph: Graph) -> object:
    """Forty values of 64 MB that are all needed in the end."""
    values = [
        graph.layer(
            "Broadcast",
            f"{_scale(graph, i)}",
            np.array([16 * 10**6]),
            version="opset3",
            mode="numpy",
        )
        for i in range(40)
    ]
    return graph.finish(graph.layer("Concat", *map(_shorten(graph), values * 2), axis=0), 1)


def _scale(graph: Graph, number: int) -> Place:
    total = graph.layer("ReduceSum", FRAME, np.arange(4), version="opset1", keep_dims="false")
    factor = np.full(1, number, np.float32)
    return graph.layer("Multiply", total, factor, version="opset1", auto_broadcast="numpy")


def _shorten(graph: Graph) -> Callable[[Place], Place]:
    return lambda value: graph.layer("Slice", value, *map(np.array, ([0], [9], [1], [0])))


SUM: dict[str, Any] = {"exclusive": "false", "reverse": "false", "version": "opset3"}
NORM: dict[str, Any] = {
    "eps": 1e-9,
    "eps_mode": "inside_sqrt",
    "normalize_variance": "true",
    "version": "opset6",
}
LARGEST: dict[str, Any] = {
    "axis": 1,
    "mode": "max",
    "sort": "value",
    "index_element_type": "i64",
    "outputs": 2,
}
DIVIDE: dict[str, Any] = {"version": "opset1", "auto_broadcast": "numpy", "rank": 1}
# Most of these ended the process.
REFUSED = {
    "CumSum": (add("CumSum", FOUR, np.array(7), **SUM), "CumSum has axes that lead beyond"),
    "MVN": (add("MVN", FOUR, np.array([-9]), **NORM), "MVN has axes that lead beyond"),
    "TopK": (
        add("TopK", FOUR, np.array(7), version="opset11", **LARGEST),
        "TopK has more results than values",
    ),
    "DFT": (
        add(
            "DFT",
            np.ones((1, 4, 4, 2), np.float32),
            np.array([1]),
            np.array([-9]),
            rank=4,
            version="opset7",
        ),
        r"has the shape \(1, 0, 4, 2\), expected up to 8 sizes over 0",
    ),
    "Broadcast": (
        lambda g: g.finish(
            g.layer(
                "Broadcast",
                ONE,
                np.array([2, 3]),
                compute(g, [-9]),
                version="opset3",
                mode="explicit",
            ),
            2,
        ),
        "a Broadcast of sizes that it computes",
    ),
    "GatherElements": (
        add("GatherElements", FOUR, np.full((1, 4), 4), version="opset6", axis=0),
        "GatherElements has indices that lead beyond",
    ),
    "ScatterUpdate": (
        add("ScatterUpdate", FOUR, np.array([LEAST]), COLUMN, np.array(0), version="opset3"),
        "ScatterUpdate has indices that lead beyond",
    ),
    "ScatterElementsUpdate": (scatter, "ScatterElementsUpdate has indices that it computes"),
    "sizes that reading computes": (
        lambda g: g.finish(
            g.layer(
                *("Reshape", FRAME, g.layer("Broadcast", [1], [10**9], version="opset3")),
                version="opset1",
                special_zero="false",
            )
        ),
        "a Reshape of sizes that it computes",
    ),
    "integers": (
        add("Divide", np.array([LEAST]), np.array([-1]), **DIVIDE),
        "has integers that it divides",
    ),
    "integers that are called floats": (
        add("Mod", np.array([5]), np.array([0]), precision="FP32", **DIVIDE),
        "has integers that it divides",
    ),
    "integers after a pool": (
        lambda g: g.finish(
            g.layer(
                "Divide",
                _pool(g).replace(":1", ":2"),
                np.array(0),
                version="opset1",
                auto_broadcast="numpy",
            ),
            4,
        ),
        "has integers that it divides",
    ),
    "bits": (
        add("Convert", FRAME, version="opset1", destination_type="u1", rank=4),
        "numbers of type 'u1'",
    ),
    "empty": (
        add("Slice", FRAME, [1], [1], [1], [0], rank=4),
        r"has the shape \(0, 6, 6, 3\), expected up to 8 sizes over 0",
    ),
    "no axes": (
        add("RDFT", ONE, np.zeros(0, np.int64), version="opset9"),
        "a constant of the shape '0'",
    ),
    "rank": (
        add("Unsqueeze", ONE, np.arange(300), version="opset1", rank=0),
        "expected up to 8 sizes over 0",
    ),
    "many": (keep_many, r"takes? \d{10} bytes at once, expected at most 1073741824"),
    "large": (
        add("Broadcast", ONE, np.array([10**5, 10**5]), version="opset3", mode="numpy"),
        "takes 40000000000 bytes",
    ),
    "text": (
        lambda g: g.finish(g.constant(np.zeros(16, np.uint8), "string", shape="1")),
        "numbers of type 'string'",
    ),
    "outside": (
        lambda g: g.finish(g.constant(ONE, offset=2**64 - 4)),
        "cannot read .* as an OpenVINO model",
    ),
    "too few numbers": (
        lambda g: g.finish(g.constant(ONE, shape="4611686018427387905")),
        r"takes \d{20} bytes",
    ),
}


def _pool(graph: Graph) -> Place:
    window = {"strides": "1,1", "dilations": "1,1", "pads_begin": "0,0", "pads_end": "0,0"}
    return graph.layer(
        "MaxPool",
        FRAME,
        kernel="2,2",
        auto_pad="explicit",
        outputs=2,
        index_element_type="i64",
        axis=0,
        rounding_type="floor",
        **window,
    )


@pytest.mark.parametrize("case", REFUSED)
def test_dangerous_layers_are_refused(case: str, pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    change, message = REFUSED[case]
    graph = Graph(*pair)
    files = change(graph)
    with pytest.raises(ExportedFileError, match=message):
        load(files, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        add("CumSum", FOUR, np.array(-2), **SUM),
        add("MVN", FOUR, np.array([0, 1]), **NORM),
        add("TopK", FOUR, np.array(4), version="opset11", **LARGEST),
        add("GatherElements", FOUR, np.full((1, 4), -4), version="opset6", axis=0),
        add("ScatterUpdate", FOUR, np.array([3]), COLUMN, np.array(0), version="opset3"),
        add("Divide", FRAME, FOUR[:1, :3], version="opset1", auto_broadcast="numpy", rank=4),
        lambda g: g.finish(
            g.layer("Divide", _pool(g), ONE, version="opset1", auto_broadcast="numpy"), 4
        ),
    ],
)
def test_harmless_layers_are_run(
    change: Callable, pair: tuple[bytes, bytes], tmp_path: Path
) -> None:
    program = load(change(Graph(*pair)), tmp_path).program
    with co3d.open_stream(program, backend="openvino") as stream:
        assert stream.step(np.zeros((1, 3, 6, 6), np.float32)).output.shape == (1, 4, 6, 6)


THREE_FACTORS = (
    '<layer id="e" type="Einsum" version="opset7"><input><port id="0"/><port id="1"/>'
    '<port id="2"/></input></layer>'
)
MANY = "".join(
    f'<layer id="m{i}" type="Parameter" version="opset1"></layer>' for i in range(10_001)
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
        ("<layers>", f"<layers>{WIDE_POOL}", "a window of over 4096"),
        ("<?xml", "<!DOCTYPE net [<!ENTITY a 'b'>]><?xml", "no XML|a document type"),
        ("<layers>", "<layers><body/>", "an element 'body' in 'layers'"),
        ("<layers>", "<layers>" * 100, "an element 'layers' in 'layers'"),
        ("<edges>", "<edges></edges><edges>", "two elements 'edges' in 'net'"),
        ("<data ", "<data/><data ", "two elements 'data' in 'layer'"),
        ("<info ", "<runtime_options/><info ", "an element 'runtime_options' in 'rt_info'"),
        ('<attribute name="layout"', '<attribute name="strides"', "an attribute 'strides'"),
        ('version="11"', 'version="10"', "another version than 11"),
        ("</layers>", MANY + "</layers>", "over 10000 layers"),
        ("<layers>", "<layers><", "no XML that can be read"),
        ("<layers>", "<layers>\ud800", "no XML that can be read"),
    ],
)
def test_layers_of_openvino_that_no_step_needs_are_refused(
    old: str, new: str, message: str, pair: tuple[bytes, bytes]
) -> None:
    text = pair[0].decode()
    assert old in text
    with pytest.raises(ExportedFileError, match=message):
        check_layers(text.replace(old, new).encode(errors="surrogatepass"), "a")


def test_entities_are_not_expanded_in_any_encoding(pair: tuple[bytes, bytes]) -> None:
    text = pair[0].decode().partition("?>")[2]
    for start in ("<!DOCTYPE net [<!ENTITY a 'b'>]>", '<!DOCTYPE net SYSTEM "file:///etc/passwd">'):
        with pytest.raises(ExportedFileError, match="a document type"):
            check_layers((start + text).encode(), "a")
        with pytest.raises(ExportedFileError, match=r"a document type|no XML"):
            check_layers((start + text).encode("utf-16"), "a")


def test_values_of_openvino_that_are_too_large_are_refused(
    pair: tuple[bytes, bytes], tmp_path: Path
) -> None:
    text = pair[0].decode()
    assert 'shape="1,6,6,3"' in text
    changed = text.replace('shape="1,6,6,3"', 'shape="1,60000,60000,3"')
    changed = changed.replace("<dim>6</dim>", "<dim>60000</dim>")
    with pytest.raises(
        ExportedFileError, match=r"bytes, expected at most|export the network again"
    ):
        load((changed.encode(), pair[1]), tmp_path)
    changed = text.replace('shape="1,6,6,3"', 'shape="1,?,6,3"')
    with pytest.raises(ExportedFileError, match="of any size"):
        load((changed.encode(), pair[1]), tmp_path)
