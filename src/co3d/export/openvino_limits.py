"""What an OpenVINO file from elsewhere may hold: layers by list, and values of limited size.

As for ONNX files: OpenVINO runs what a file says, and finds some of it out while it reads.
"""

import math
from typing import Any
from xml.parsers import expat

from co3d.errors import ExportedFileError
from co3d.export.budget import limit_values

LAYERS = frozenset(
    [
        *("Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "AvgPool"),
        *("BatchNormInference", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Broadcast"),
        *("Ceiling", "Clamp", "Concat", "Const", "Convert", "ConvertLike", "Convolution"),
        *("ConvolutionBackpropData", "Cos", "Cosh", "CumSum", "DFT", "DepthToSpace", "Divide"),
        *(
            "Einsum",
            "Elu",
            "Equal",
            "Erf",
            "Exp",
            "FakeQuantize",
            "Floor",
            "FloorMod",
            "GRUCell",
            "GRUSequence",
        ),
        *("Gather", "GatherElements", "GatherND", "Gelu", "Greater", "GreaterEqual", "GridSample"),
        *("GroupConvolution", "GroupConvolutionBackpropData", "GroupNormalization", "HSigmoid"),
        *("HSwish", "HardSigmoid", "IDFT", "IRDFT", "Identity", "Interpolate", "IsInf", "IsNaN"),
        *("LRN", "LSTMCell", "LSTMSequence", "Less", "LessEqual", "Log", "LogSoftmax"),
        *("LogicalAnd", "LogicalNot", "LogicalOr", "LogicalXor", "MVN", "MatMul", "MaxPool"),
        *("Maximum", "Minimum", "Mish", "Mod", "Multiply", "Negative", "NormalizeL2", "NotEqual"),
        *("OneHot", "PReLU", "Pad", "Parameter", "Power", "RDFT", "RNNCell", "RNNSequence"),
        *("Range", "ReLU", "ReduceL1", "ReduceL2", "ReduceLogicalAnd", "ReduceLogicalOr"),
        *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Result"),
        *("Round", "ScatterElementsUpdate", "ScatterNDUpdate", "ScatterUpdate", "Select", "Selu"),
        *("ShapeOf", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "SoftMax", "SoftPlus", "SoftSign"),
        *("SpaceToDepth", "Split", "Sqrt", "SquaredDifference", "Squeeze", "StridedSlice"),
        *("Subtract", "Swish", "Tan", "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze"),
        "VariadicSplit",
    ]
)
"""What OpenVINO writes for `onnx_limits.OPERATORS`, by its own names."""

_MOST_LEVELS = 64


def check_layers(data: bytes, origin: str) -> None:
    """Refuse a file with other layers, or that declares entities, before OpenVINO reads it.

    Raises:
        ExportedFileError: naming the layer.
    """
    levels = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal levels
        levels += 1
        if levels > _MOST_LEVELS:
            raise _refuse(origin, f"elements over {_MOST_LEVELS} deep")
        if name in ("body", "then_body", "else_body"):
            raise _refuse(origin, "a graph in a layer")
        if name != "layer":
            return
        kind, version = attributes.get("type", ""), attributes.get("version", "")
        if kind not in LAYERS or not version.startswith("opset"):
            raise _refuse(origin, f"a layer {kind[:100]!r} of {version[:100]!r}")

    def end(_name: str) -> None:
        nonlocal levels
        levels -= 1

    def refuse_document_type(*_: Any) -> None:
        raise _refuse(origin, "a document type")

    # OpenVINO takes other encodings for themselves; ours are written in this one.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.StartDoctypeDeclHandler = refuse_document_type
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise _refuse(origin, f"no XML that can be read ({error})") from error


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
