"""Checks the XML of an untrusted OpenVINO file: allowlists of elements and layers.

OpenVINO executes any model, and computes parts of it already while reading.
"""

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from co3d.errors import ExportedFileError
from co3d.export.description import KEY
from co3d.export.openvino_pair import DIGEST_KEY

_BY_INPUTS = {
    0: "Const Parameter",
    1: (
        "Abs Acos Acosh Asin Asinh Atan Atanh AvgPool BitwiseNot Ceiling Clamp Concat Convert Cos "
        "Cosh CumSum DepthToSpace Einsum Elu Erf Exp Floor Gelu HSigmoid HSwish Identity IsInf "
        "IsNaN Log LogSoftmax LogicalNot MaxPool Mish Negative ReLU Result Round ShapeOf Sigmoid "
        "Sign Sin Sinh SoftMax SoftPlus SoftSign SpaceToDepth Sqrt Squeeze Swish Tan Tanh"
    ),
    2: (
        "Add BitwiseAnd BitwiseOr BitwiseXor Broadcast ConvertLike Convolution "
        "ConvolutionBackpropData DFT Divide Equal FloorMod GatherElements Greater "
        "GreaterEqual GridSample GroupConvolution GroupConvolutionBackpropData IDFT IRDFT "
        "Interpolate LRN Less LessEqual LogicalAnd LogicalOr LogicalXor MVN MatMul Maximum Minimum "
        "Mod Multiply NormalizeL2 NotEqual PReLU Power RDFT ReduceL1 ReduceL2 ReduceLogicalAnd "
        "ReduceLogicalOr ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Split "
        "SquaredDifference Subtract Tile TopK Transpose Unsqueeze"
    ),
    3: ("Gather GroupNormalization HardSigmoid Pad Range Select Selu StridedSlice VariadicSplit"),
    4: "OneHot ScatterElementsUpdate ScatterUpdate Slice",
    5: "BatchNormInference FakeQuantize GRUCell RNNCell",
    6: "GRUSequence LSTMCell RNNSequence",
    7: "LSTMSequence",
}
LAYERS = {kind: least for least, kinds in _BY_INPUTS.items() for kind in kinds.split()}
"""The layers that OpenVINO writes for `onnx_limits.OPERATORS`, with their least numbers of inputs,
since OpenVINO reads inputs without checking that a layer has them. `GatherND` and `ScatterNDUpdate`
are not allowed, because they do not check indices."""

_PARENTS = {
    "net": ("",),
    "layers": ("net",),
    "layer": ("layers",),
    "data": ("layer",),
    "input": ("layer",),
    "output": ("layer",),
    "port": ("input", "output"),
    "dim": ("port",),
    "edges": ("net",),
    "edge": ("edges",),
    "rt_info": ("net", "layer", "port"),
    "attribute": ("rt_info",),
    "info": ("rt_info",),
    KEY: ("rt_info",),
    DIGEST_KEY: ("rt_info",),
}
"""The elements that OpenVINO writes, with their allowed parents."""
_ONCE = frozenset(["net", "layers", "edges", "data", "input", "output", "rt_info"])
"""Elements that may occur once: of two, OpenVINO might read the one that was not checked."""
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogicalAnd", "ReduceLogicalOr", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum"),
)
_FIRST_SIZE = {
    "Range": 0,
    **dict.fromkeys(("Broadcast", "OneHot", "Pad", "Reshape", "Slice", "StridedSlice", "Tile"), 1),
    **dict.fromkeys(("CumSum", "LRN", "MVN", "NormalizeL2", "Split", "TopK", "VariadicSplit"), 1),
    **dict.fromkeys(("DFT", "IDFT", "IRDFT", "RDFT", "Interpolate", "Squeeze", "Transpose"), 1),
    **dict.fromkeys(("Unsqueeze", *_REDUCTIONS), 1),
    **dict.fromkeys(("ConvolutionBackpropData", "GroupConvolutionBackpropData", "Gather"), 2),
    **dict.fromkeys(("ScatterElementsUpdate", "ScatterUpdate"), 3),
}
"""The index of the first input that holds sizes or axes. It and the inputs after it must be
constants: OpenVINO would compute others while reading, of any size, and does not check them."""
_VERSION = "11"  # of the format; OpenVINO has other code for older versions
_SLIDING = ("Pool", "Convolution", "ConvolutionBackpropData", "LRN")
_WINDOW = ("kernel", "pads_begin", "pads_end", "dilations", "strides", "output_padding", "size")
_MOST_WIDE = 4096
_MOST_LAYERS = 10_000  # four times co3d's largest network; OpenVINO's time is quadratic
_NUMBERS = frozenset(
    [
        *("f16", "bf16", "f32", "f64", "boolean"),
        *("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"),
    ]
)
_NAMES_OF_NUMBERS = ("element_type", "destination_type", "output_type", "index_element_type")


def check_layers(data: bytes, origin: str) -> None:
    """Check that a file has allowed elements and layers only, before OpenVINO reads it.

    Raises:
        ExportedFileError: it does not; the message names the element or layer.
    """
    reader = _LayerReader(origin)
    # UTF-8 only, as co3d writes it, because OpenVINO would read other encodings differently.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.StartDoctypeDeclHandler = reader.refuse_document_type
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise _refuse(origin, f"no XML that can be read ({error})") from error
    reader.check_edges()
    reader.check_sizes()


@dataclass
class _Layer:
    """A layer of the file.

    Attributes:
        kind: its type. inputs: ids of its input ports, in order.
    """

    kind: str
    inputs: dict[str, None] = field(default_factory=dict)


class _LayerReader:
    """Handles the XML elements of a file, and refuses what no step graph needs."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._open: list[tuple[str, set[str]]] = [("", set())]  # open elements, names of children
        self._layers: dict[str, _Layer] = {}  # by id
        self._sources: dict[tuple[str, str], str] = {}  # (layer, input port) -> source layer
        self._edges = 0
        self._layer = _Layer("")

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        parent, siblings = self._open[-1]
        if parent not in _PARENTS.get(name, ()):
            raise _refuse(self._origin, f"an element {name[:100]!r} in {parent[:100]!r}")
        if name in _ONCE and name in siblings:
            raise _refuse(self._origin, f"two elements {name!r} in {parent!r}")
        siblings.add(name)
        self._open.append((name, set()))
        if name == "net" and attributes.get("version") != _VERSION:
            raise _refuse(self._origin, f"another version than {_VERSION} of its format")
        if name == "attribute" and attributes.get("name") != "layout":
            raise _refuse(self._origin, f"an attribute {attributes.get('name', '')[:100]!r}")
        if name == "layer":
            self._begin_layer(attributes)
        elif name == "port" and parent == "input":
            self._add_input(attributes.get("id", ""))
        elif name == "data":
            for numbers in (attributes[key] for key in _NAMES_OF_NUMBERS if key in attributes):
                if numbers not in _NUMBERS:
                    raise _refuse(self._origin, f"numbers of type {numbers[:100]!r}")
            if self._layer.kind == "Const":
                self._check_shape(attributes.get("shape", ""))
            if self._layer.kind.endswith(_SLIDING):
                self._check_window(attributes)
        elif name == "edge":
            ends = ("from-layer", "to-layer", "to-port")
            source, target, port = (attributes.get(end, "") for end in ends)
            self._sources[target, port] = source
            self._edges += 1

    def end(self, _name: str) -> None:
        """Handle the end of an element."""
        self._open.pop()

    def refuse_document_type(self, *_: Any) -> None:
        """Refuse a document type, whose entities may expand exponentially or read other files."""
        raise _refuse(self._origin, "a document type")

    def check_edges(self) -> None:
        """Check that layers have enough inputs, and exactly one edge for each."""
        wanted = {(name, port) for name, layer in self._layers.items() for port in layer.inputs}
        sources = set(self._sources.values())
        if (
            self._edges != len(wanted)
            or self._sources.keys() != wanted
            or not sources <= self._layers.keys()
        ):
            raise _refuse(self._origin, "inputs that are not given, or more than once")
        for name, layer in self._layers.items():
            count, least = len(layer.inputs), LAYERS[layer.kind]
            if count < least or (least == 0 and count):
                raise _refuse(self._origin, f"a layer {name[:100]!r} of {count} inputs")

    def check_sizes(self) -> None:
        """Check that sizes and axes are constants."""
        for name, layer in self._layers.items():
            first = _FIRST_SIZE.get(layer.kind, len(layer.inputs))
            for port in list(layer.inputs)[first:]:
                if self._layers[self._sources[name, port]].kind != "Const":
                    raise _refuse(self._origin, f"a {layer.kind} of sizes that it computes")

    def _check_shape(self, shape: str) -> None:
        """Refuse empty constants, because OpenVINO reads the first and last number of axes."""
        sizes = [size.strip() for size in shape.split(",")] if shape else []
        if not all(size.isascii() and size.isdecimal() and int(size) for size in sizes):
            raise _refuse(self._origin, f"a constant of the shape {shape[:100]!r}")

    def _check_window(self, attributes: dict[str, str]) -> None:
        """Refuse windows that are wider than any frame, since OpenVINO loops over their width."""
        numbers = ",".join(attributes.get(name, "0") for name in _WINDOW).split(",")
        if not all(n.strip().isdecimal() and int(n) <= _MOST_WIDE for n in numbers if n.strip()):
            raise _refuse(self._origin, f"a window of over {_MOST_WIDE}")

    def _begin_layer(self, attributes: dict[str, str]) -> None:
        kind, version = attributes.get("type", ""), attributes.get("version", "")
        if kind not in LAYERS or not version.startswith("opset"):
            raise _refuse(self._origin, f"a layer {kind[:100]!r} of {version[:100]!r}")
        name = attributes.get("id", "")
        if name in self._layers:
            raise _refuse(self._origin, f"two layers {name[:100]!r}")
        self._layer = self._layers[name] = _Layer(kind)
        if len(self._layers) > _MOST_LAYERS:
            raise _refuse(self._origin, f"over {_MOST_LAYERS} layers")

    def _add_input(self, name: str) -> None:
        if name in self._layer.inputs:
            raise _refuse(self._origin, f"two inputs {name[:100]!r} of a layer")
        self._layer.inputs[name] = None
        if self._layer.kind == "Einsum" and len(self._layer.inputs) > 2:
            raise _refuse(self._origin, "an Einsum of over 2 inputs")


def _refuse(origin: str, what: str) -> ExportedFileError:
    return ExportedFileError(
        f"cannot run {origin}: it has {what}, which no step graph needs; export the network again"
    )
