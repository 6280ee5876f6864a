"""Checks an untrusted ONNX file: an allowlist of operators, and values of known, limited size.

The runtimes execute any graph, with endless loops and tensors of any size. Therefore a graph is
checked before a runtime reads it.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from co3d.errors import ExportedFileError
from co3d.export.budget import limit_values
from co3d.export.onnx_arguments import check_arguments
from co3d.export.peak_memory import PeakMemory

if TYPE_CHECKING:
    import onnx

OPERATORS = frozenset(
    [
        # Elementwise.
        *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitwiseAnd"),
        *("BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip"),
        *("Cos", "Cosh", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater"),
        *("GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN"),
        *("LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul"),
        *("Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid"),
        *("Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh"),
        *("DequantizeLinear", "QuantizeLinear", "ThresholdedRelu", "Where", "Xor"),
        # Shapes and indexing.
        *("Concat", "Constant", "ConstantOfShape", "CumSum", "DepthToSpace", "Expand", "Flatten"),
        *("Gather", "GatherElements", "GatherND", "OneHot", "Pad", "Range", "Reshape", "Resize"),
        *("ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split"),
        *("Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze"),
        # Products, pools, norms and recurrences.
        *("ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DFT"),
        *("Einsum", "GRU", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GridSample"),
        *("GroupNormalization", "InstanceNormalization", "LRN", "LSTM", "LayerNormalization"),
        *("LogSoftmax", "LpNormalization", "MatMul", "MaxPool", "RNN", "ReduceL1", "ReduceL2"),
        *("ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax"),
    ]
)
"""The operators of step graphs and reruns. Loops, branches, sequences, and operators whose output
shape depends on values are not among them."""

_FEW_NUMBERS = 1024
_MOST_SIZE = 1 << 40


def check_onnx(model: "onnx.ModelProto", origin: str, most_bytes: int) -> None:
    """Check that a graph has allowed operators only, and values of known and limited size.

    Args:
        model: a model without external weights.
        origin: the file, for messages.
        most_bytes: the limit for any value, and for all values that are alive at the same time.

    Raises:
        ExportedFileError: it does not; the message names the operator or the value.
    """
    graph = model.graph
    others = {node.op_type for node in graph.node if node.domain or node.op_type not in OPERATORS}
    others |= {"a function of its own"} if model.functions else set()
    others |= {"a sparse constant"} if graph.sparse_initializer else set()
    others |= {"a graph in a node"} if any(_holds_graph(node) for node in graph.node) else set()
    if others:
        raise ExportedFileError(
            f"cannot run {origin}: it has {sorted(others)[0]}, which no step graph needs; "
            "export the network again"
        )
    inferred = _infer(model, origin)
    sizes = dict(_list_sizes(inferred, origin))
    given = {value.name for value in (*graph.input, *graph.initializer)}
    limit = limit_values(sum(sizes.get(name, 0) for name in given), most_bytes)
    for name, asked in sizes.items():
        if asked > (most_bytes if name in given else limit):
            raise ExportedFileError(
                f"cannot run {origin}: its value {name[:100]!r} takes {asked} bytes, expected at "
                f"most {limit}; if you trust it, load_program(path, most_bytes=…) allows more"
            )
    for node in graph.node:
        if unknown := [name for name in node.output if name and name not in sizes]:
            raise ExportedFileError(
                f"cannot run {origin}: its value {unknown[0][:100]!r} may be of any size; export "
                "the network again"
            )
    alive = PeakMemory()
    for node in graph.node:
        for name in filter(None, node.output):
            alive.step(name, sizes[name], node.input)
    alive.check(origin, most_bytes)
    check_arguments(model, inferred, origin, limit)


def _holds_graph(node: Any) -> bool:
    return any(a.HasField("g") or a.graphs or a.HasField("sparse_tensor") for a in node.attribute)


def _infer(model: "onnx.ModelProto", origin: str) -> "onnx.GraphProto":
    """Infer the shapes of all values; shapes stated in the file are not used."""
    import onnx

    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.graph.name = "sizes"
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    inputs = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _FEW_NUMBERS:
            light.graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            # Large constants are never shapes, and copying them would double the memory.
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(value)
    for value in model.graph.output:
        light.graph.output.add(name=value.name)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, strict_mode=True)
    except Exception as error:
        raise ExportedFileError(
            f"cannot run {origin}: the sizes of its values do not fit ({str(error)[:200]}); export "
            "the network again"
        ) from error
    return inferred.graph


def _list_sizes(graph: "onnx.GraphProto", origin: str) -> Iterator[tuple[str, int]]:
    """Yield each value of known shape with its bytes."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        if not kind.HasField("shape") or -1 in dims:
            continue
        if not all(0 <= size < _MOST_SIZE for size in dims):
            raise ExportedFileError(
                f"cannot run {origin}: its value {value.name[:100]!r} is of impossible sizes"
            )
        yield value.name, _size_number(kind.elem_type) * math.prod(dims)
    for tensor in graph.initializer:
        yield tensor.name, _size_number(tensor.data_type) * math.prod(tensor.dims)


def _size_number(kind: int) -> int:
    """The bytes of a number; 4 for all types of 4 bytes or less."""
    import onnx

    wide = (onnx.TensorProto.INT64, onnx.TensorProto.UINT64, onnx.TensorProto.DOUBLE)
    return 8 if kind in wide else 4
