"""Checks arguments of operators in an ONNX file that the runtimes do not check.

ONNX Runtime and OpenVINO crash if an integer is divided by 0 or the least integer by -1, access
memory beyond a value through an index out of range, and loop over a window of any width.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from co3d.errors import ExportedFileError

if TYPE_CHECKING:
    import onnx

_WINDOW = ("kernel_shape", "pads", "dilations", "strides", "output_padding")
_WINDOW_MARGIN = 64
"""How much wider than its input a window with its padding may be."""


class _Graph:
    """The shapes, types and constants of a graph's values.

    Args:
        model: the model in the file. inferred: its graph with inferred shapes.
        most_bytes: the most bytes that a value may take.
    """

    def __init__(self, model: "onnx.ModelProto", inferred: Any, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._tensors: dict[str, Any] = {t.name: t for t in model.graph.initializer}
        self._kinds: dict[str, int] = {t.name: t.data_type for t in model.graph.initializer}
        self._shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                found = [a.t for a in node.attribute if a.name == "value"]
                self._tensors.update(zip(node.output, found, strict=False))
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            kind = value.type.tensor_type
            self._kinds.setdefault(value.name, kind.elem_type)
            self._shapes.setdefault(value.name, tuple(d.dim_value for d in kind.shape.dim))

    def find_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value."""
        return self._shapes.get(name, ())

    def is_integer(self, name: str) -> bool:
        """Whether a value has an integer type."""
        import onnx

        return "INT" in onnx.TensorProto.DataType.Name(self._kinds.get(name, 0))

    def read_constant(self, name: str) -> np.ndarray | None:
        """The content of a constant; None for values that are computed."""
        from onnx import numpy_helper

        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def check_arguments(model: "onnx.ModelProto", inferred: Any, origin: str, most_bytes: int) -> None:
    """Check the arguments of operators that the runtimes do not check.

    Args:
        model: a model whose values have limited sizes.
        inferred: its graph with inferred shapes.
        origin: the file, for messages.
        most_bytes: the most bytes that a value may take.

    Raises:
        ExportedFileError: an argument is unsafe; the message names the operator.
    """
    graph = _Graph(model, inferred, most_bytes)
    for node in model.graph.node:
        check = _CHECKS.get(node.op_type)
        try:
            fault = check and check(node, graph)
        except (IndexError, TypeError, ValueError) as error:
            fault = str(error)
        if fault:
            raise ExportedFileError(
                f"cannot run {origin}: its {node.op_type} has {fault[:200]}; if you trust it, "
                "load_program(path, most_bytes=None) runs it unseen"
            )


def _check_division(node: Any, graph: _Graph) -> str | None:
    if not graph.is_integer(node.output[0]):
        return None
    divisor = graph.read_constant(node.input[1])
    is_safe = divisor is not None and not np.isin(divisor, (0, -1)).any()
    return None if is_safe else "integers that it divides by what may be 0 or -1"


def _check_indices(node: Any, graph: _Graph) -> str | None:
    shape = graph.find_shape(node.input[0])
    axis = _read(node, "axis", 0)
    return _check_range(node, graph, shape[axis : axis + 1 or None])


def _check_axis(node: Any, graph: _Graph) -> str | None:
    shape = graph.find_shape(node.input[0])
    axis = graph.read_constant(node.input[1])
    if axis is None or not -len(shape) <= axis.item() < len(shape):
        return "an axis that it computes, or that its value does not have"
    return "an empty value" if 0 in shape else None


def _check_places(node: Any, graph: _Graph) -> str | None:
    """Each row of the indices is a position, starting at the first axis after the batch axes."""
    size = graph.find_shape(node.input[1])[-1]
    start = _read(node, "batch_dims", 0)
    return _check_range(node, graph, graph.find_shape(node.input[0])[start : start + size])


def _check_range(node: Any, graph: _Graph, sizes: tuple[int, ...]) -> str | None:
    indices = graph.read_constant(node.input[1])
    if indices is None:
        return "indices that it computes, which may lead beyond its values"
    limits = np.array(sizes)
    is_within = (indices >= -limits) & (indices < limits)
    return None if is_within.all() else "indices that lead beyond its values"


def _check_window(node: Any, graph: _Graph) -> str | None:
    sizes = graph.find_shape(node.input[0])[2:]
    most = max(sizes, default=0) + _WINDOW_MARGIN
    numbers = [n for name in _WINDOW for n in _read(node, name, ())]
    return None if all(0 <= n <= most for n in numbers) else f"a window of over {most}"


def _check_response(node: Any, graph: _Graph) -> str | None:
    most = max(graph.find_shape(node.input[0])) + _WINDOW_MARGIN
    return None if 0 < _read(node, "size", 0) <= most else f"a window of over {most}"


def _check_product(node: Any, graph: _Graph) -> str | None:
    """Refuse an Einsum of three or more values whose intermediate result may be too large."""
    if len(node.input) <= 2:
        return None
    terms = _read(node, "equation", b"").decode().partition("->")[0].replace(" ", "").split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        sizes.update(zip(term, graph.find_shape(name), strict=True))
    asked = 8 * math.prod(sizes.values())
    return None if asked <= graph.most_bytes else f"values of {asked} bytes on the way"


def _read(node: Any, name: str, default: Any) -> Any:
    return next(_list_attributes(node, name), default)


def _list_attributes(node: Any, name: str) -> Iterator[Any]:
    from onnx import helper

    return (helper.get_attribute_value(a) for a in node.attribute if a.name == name)


_CHECKS: Mapping[str, Callable[[Any, _Graph], str | None]] = {
    **dict.fromkeys(("Div", "Mod"), _check_division),
    **dict.fromkeys(("Gather", "GatherElements", "ScatterElements"), _check_indices),
    **dict.fromkeys(("GatherND", "ScatterND"), _check_places),
    **dict.fromkeys(("AveragePool", "Conv", "ConvTranspose", "MaxPool"), _check_window),
    "CumSum": _check_axis,
    "LRN": _check_response,
    "Einsum": _check_product,
}
