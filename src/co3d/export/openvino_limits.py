"""What an OpenVINO file from elsewhere may hold: layers by list, and values of limited size.

As for ONNX files: OpenVINO runs what a file says, and finds some of it out while it reads.
"""

import math
from typing import Any
from xml.parsers import expat

from co3d.errors import ExportedFileError
from co3d.export.budget import limit_values

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
"""What OpenVINO writes for `onnx_limits.OPERATORS`, by its own names -> inputs that it has at
least. OpenVINO looks at inputs that a layer has not. Not among them: `GatherND` and
`ScatterNDUpdate`, which read and write wherever an index leads."""

_MOST_LEVELS = 64
_SLIDING = ("Pool", "Convolution", "ConvolutionBackpropData")
_DIVISIONS = ("Divide", "FloorMod", "Mod")
_WINDOW = ("kernel", "pads_begin", "pads_end", "dilations", "strides", "output_padding")
_MOST_WIDE = 4096


def check_layers(data: bytes, origin: str) -> None:
    """Refuse a file with other layers, or that declares entities, before OpenVINO reads it.

    Raises:
        ExportedFileError: naming the layer.
    """
    reader = _LayerReader(origin)
    # OpenVINO takes other encodings for themselves; ours are written in this one.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.StartDoctypeDeclHandler = reader.refuse_document_type
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise _refuse(origin, f"no XML that can be read ({error})") from error
    reader.check_edges()


class _LayerReader:
    """Takes in the elements of a file, and refuses what no step graph needs."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._open: list[str] = []
        self._ports: dict[str, set[str]] = {}  # id of a layer -> its inputs
        self._least: dict[str, int] = {}
        self._edges: list[tuple[str, str, str]] = []
        self._layer = self._kind = ""

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._open.append(name)
        if len(self._open) > _MOST_LEVELS:
            raise _refuse(self._origin, f"elements over {_MOST_LEVELS} deep")
        if name in ("body", "then_body", "else_body"):
            raise _refuse(self._origin, "a graph in a layer")
        if name == "layer":
            self._begin_layer(attributes)
        elif name == "port" and self._open[-2:-1] == ["input"]:
            self._ports.setdefault(self._layer, set()).add(attributes.get("id", ""))
            if self._kind == "Einsum" and len(self._ports[self._layer]) > 2:
                raise _refuse(self._origin, "an Einsum of over 2 inputs")
        elif name == "port" and self._kind in _DIVISIONS:
            # OpenVINO ends the process at a division by 0, and of the least integer by -1.
            if not attributes.get("precision", "").startswith(("FP", "BF")):
                raise _refuse(self._origin, "a division of integers")
        elif name == "data" and self._kind.endswith(_SLIDING):
            self._check_window(attributes)
        elif name == "edge":
            ends = ("from-layer", "to-layer", "to-port")
            source, target, port = (attributes.get(end, "") for end in ends)
            self._edges.append((source, target, port))

    def end(self, _name: str) -> None:
        """An element ends."""
        self._open.pop()

    def refuse_document_type(self, *_: Any) -> None:
        """A document type declares entities, which may multiply or read other files."""
        raise _refuse(self._origin, "a document type")

    def check_edges(self) -> None:
        """Refuse layers whose inputs are too few, or not given exactly once."""
        given = [(target, port) for _source, target, port in self._edges]
        wanted = {(layer, port) for layer, ports in self._ports.items() for port in ports}
        sources = {source for source, _target, _port in self._edges}
        if len(given) != len(wanted) or set(given) != wanted or not sources <= self._least.keys():
            raise _refuse(self._origin, "inputs that are not given, or more than once")
        for layer, least in self._least.items():
            count = len(self._ports.get(layer, ()))
            if count < least or (least == 0 and count):
                raise _refuse(self._origin, f"a layer {layer[:100]!r} of {count} inputs")

    def _check_window(self, attributes: dict[str, str]) -> None:
        """Refuse windows that are wider than any frame: they take as many turns."""
        numbers = ",".join(attributes.get(name, "0") for name in _WINDOW).split(",")
        if not all(n.strip().isdecimal() and int(n) <= _MOST_WIDE for n in numbers if n.strip()):
            raise _refuse(self._origin, f"a window of over {_MOST_WIDE}")

    def _begin_layer(self, attributes: dict[str, str]) -> None:
        kind, version = attributes.get("type", ""), attributes.get("version", "")
        if kind not in LAYERS or not version.startswith("opset"):
            raise _refuse(self._origin, f"a layer {kind[:100]!r} of {version[:100]!r}")
        self._layer, self._kind = attributes.get("id", ""), kind
        if self._layer in self._least:
            raise _refuse(self._origin, f"two layers {self._layer[:100]!r}")
        self._least[self._layer] = LAYERS[kind]


def check_sizes(model: Any, origin: str, most_bytes: int) -> None:
    """Refuse a model of which a value is too large, or may be of any size.

    Args:
        model: as OpenVINO read it. most_bytes: that no value may take more than.

    Raises:
        ExportedFileError: naming the value.
    """
    asked: dict[str, int] = {}
    brought = 0
    for layer in model.get_ordered_ops():
        for output in layer.outputs():
            shape, name = output.get_partial_shape(), layer.get_friendly_name()[:100]
            if shape.is_dynamic:
                raise ExportedFileError(
                    f"cannot run {origin}: its value {name!r} may be of any size; export the "
                    "network again"
                )
            size = math.prod(shape.to_shape()) * max(1, output.get_element_type().size)
            if layer.get_type_name() in ("Parameter", "Constant"):
                brought += size
            asked[name] = max(size, asked.get(name, 0))
    limit = limit_values(brought, most_bytes)
    largest = max(asked, key=lambda name: asked[name], default="")
    if asked and asked[largest] > limit:
        raise ExportedFileError(
            f"cannot run {origin}: its value {largest!r} takes {asked[largest]} bytes, expected at "
            f"most {limit}; if you trust it, load_program(path, most_bytes=…) allows more"
        )


def _refuse(origin: str, what: str) -> ExportedFileError:
    return ExportedFileError(
        f"cannot run {origin}: it has {what}, which no step graph needs; export the network again"
    )
