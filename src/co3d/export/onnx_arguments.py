"""What operators of an ONNX file are given that the runtimes trust.

ONNX Runtime or OpenVINO end the process where an integer is divided by 0 or the least one by -1,
read and write beyond a value where an index leads there, and take as many turns as a window is
wide.
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
"""Windows and their margins may be so much wider than what they slide over."""


class _Graph:
    """What is known of the values of a graph.

    Args:
        model: as the file has it. inferred: its values, with their sizes.
        most_bytes: that a value may take.
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
        """Sizes of a value."""
        return self._shapes.get(name, ())

    def is_integer(self, name: str) -> bool:
        """Whether a value is of whole numbers."""
        import onnx

        return "INT" in onnx.TensorProto.DataType.Name(self._kinds.get(name, 0))

    def read_constant(self, name: str) -> np.ndarray | None:
        """The numbers of a constant; None of what is computed."""
        from onnx import numpy_helper

        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)


def check_arguments(model: "onnx.ModelProto", inferred: Any, origin: str, most_bytes: int) -> None:
    """Refuse operators that are given what the runtimes trust and nobody may.

    Args:
        model: whose values have limited sizes.
        inferred: its graph with these sizes.
        origin: the file, for messages.
        most_bytes: that a value may take.

    Raises:
        ExportedFileError: naming the operator.
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


def _check_places(node: Any, graph: _Graph) -> str | None:
    """Each row of the indices says a place, from the first size that is not of a batch on."""
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
    """Of three values and more, two may make one of all their sizes on the way to a small one."""
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
    "LRN": _check_response,
    "Einsum": _check_product,
}
