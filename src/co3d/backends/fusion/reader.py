"""Reads shapes, constants, convolutions and sums of a step graph, for pattern matching."""

import operator
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import MOST_SOURCES, POINT

_aten = torch.ops.aten
# Operators have two spellings: the compiler's rules write step graphs with functions of torch, and
# copy operators that need no change from the exported clip network, which has ATen's.
ADD = (torch.add, _aten.add.Tensor, operator.add)
CAT = (torch.cat, _aten.cat.default)
CONVOLVE = (torch.conv2d, _aten.conv2d.default)
DIV = (torch.div, _aten.div.Tensor, operator.truediv)
MUL = (torch.mul, _aten.mul.Tensor, operator.mul)


class GraphReader:
    """Answers questions about the nodes of one graph.

    Args:
        exact: the graph with its original weights.
        values: each node's value; meta tensors suffice.
        clock_nodes: the nodes that depend on clocks alone.
        dtype: of the values that kernels read and write.
    """

    def __init__(
        self,
        exact: fx.GraphModule,
        values: Mapping[fx.Node, Any],
        clock_nodes: Container[fx.Node],
        dtype: torch.dtype,
    ) -> None:
        self._exact, self._values, self._clock_nodes, self._dtype = (
            exact,
            values,
            clock_nodes,
            dtype,
        )

    def read_convolution(
        self, node: fx.Node
    ) -> tuple[fx.Node, Tensor, Tensor | None, dict[str, Any], int] | None:
        """Source, weight, bias, geometry and groups of a convolution with constant weights."""
        if node.target not in CONVOLVE:
            return None
        source, weight, bias, *sizes, groups = read_arguments(
            node, "input", "weight", "bias", *POINT, "groups"
        )
        constant = self.constant(weight)
        if constant is None or any(isinstance(size, str) for size in sizes):  # padding="same"
            return None
        if not self.is_map(source) or not self.is_constant(bias):
            return None
        geometry = {
            name: default if size is None else read_pair(size)
            for (name, default), size in zip(POINT.items(), sizes, strict=True)
        }
        return source, constant, self.constant(bias), geometry, 1 if groups is None else groups

    def is_count(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether a node is one whole number that depends on clocks alone."""
        if not isinstance(node, fx.Node) or node not in self._clock_nodes:
            return False
        value = self._values[node]
        return isinstance(value, Tensor) and value.dtype == torch.int64 and value.numel() == 1

    def is_dense(self, node: fx.Node) -> bool:
        """Whether a node is a convolution without groups."""
        parts = self.read_convolution(node)
        return parts is not None and parts[4] == 1

    def is_channel_cat(self, node: fx.Node) -> bool:
        """Whether a node concatenates at most `MOST_SOURCES` maps along their channels."""
        parts, dim = read_arguments(node, "tensors", "dim")
        if dim != 1 or not isinstance(parts, list | tuple) or len(parts) > MOST_SOURCES:
            return False
        return all(self.is_map(part) for part in parts)

    def per_channel(self, factor: Any, node: fx.Node) -> Tensor | None:
        """A constant with one number per channel of a node, as (channels,); None if it is not."""
        constant = self.constant(factor)
        channels = self.shape(node)[1]
        shapes = ((channels, 1, 1), (1, channels, 1, 1))
        if constant is None or tuple(constant.shape) not in shapes:
            return None
        return constant.reshape(channels)

    def constant(self, node: Any) -> Tensor | None:
        """The tensor of a constant node; None for other nodes."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        return getattr(self._exact, str(node.target))

    def is_constant(self, node: Any) -> bool:
        """Whether an operand is constant, or missing."""
        return node is None or self.constant(node) is not None

    def is_float(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether a node's value has the kernels' dtype."""
        value = self._values.get(node)
        return isinstance(value, Tensor) and value.dtype == self._dtype

    def is_map(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether a node is a map (N, C, H, W) in the kernels' dtype, and no constant."""
        return self.is_step_value(node) and len(self.shape(node)) == 4

    def is_step_value(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether a node's value has the kernels' dtype and is no constant."""
        return isinstance(node, fx.Node) and node.op != "get_attr" and self.is_float(node)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The shape of a node's value."""
        return tuple(self._values[node].shape)

    def adds_same_shape(self, node: fx.Node) -> bool:
        """Whether a node adds two maps of its own shape."""
        return node.target in ADD and self.takes_same_shape(node)

    def takes_same_shape(self, node: fx.Node) -> bool:
        """Whether a node's only arguments are two maps of its own shape."""
        if len(node.args) != 2 or node.kwargs:
            return False
        shape = self.shape(node)
        return all(
            isinstance(x, fx.Node) and self.is_map(x) and self.shape(x) == shape for x in node.args
        )

    def find_terms(self, root: fx.Node) -> tuple[list[fx.Node], set[fx.Node]]:
        """The terms of a tree of additions of equal shapes, and the tree's own nodes."""
        leaves: list[fx.Node] = []
        inner: set[fx.Node] = set()

        def visit(node: fx.Node) -> None:
            if self.adds_same_shape(node) and (node is root or len(node.users) == 1):
                inner.add(node)
                for operand in node.args[:2]:
                    assert isinstance(operand, fx.Node)
                    visit(operand)
            else:
                leaves.append(node)

        visit(root)
        return leaves, inner


def find_values(graph: fx.GraphModule, examples: Sequence[Tensor]) -> Mapping[fx.Node, Any]:
    """Each node's value as a tensor on the meta device, without data.

    PyTorch's fake tensors would do the same, but take seconds to import.
    """
    values: dict[fx.Node, Any] = {}
    given = iter(examples)
    # On the meta device, so that operators without tensor inputs, such as arange, make no data.
    with torch.device("meta"), torch.no_grad():
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                values[node] = _forget_data(next(given))
            elif node.op == "get_attr":
                values[node] = _forget_data(getattr(graph, str(node.target)))
            elif node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*args, **kwargs)
    return values


def _forget_data(value: Tensor) -> Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def read_pair(value: Any) -> tuple[int, int]:
    """Expand a size to (height, width): it may be a number, or a list of one or two."""
    first, *rest = (value,) if isinstance(value, int) else value
    return (first, rest[0] if rest else first)


def read_arguments(node: fx.Node, *names: str) -> Iterator[Any]:
    """Arguments by position or by name; None where they are missing."""
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return iter([given.get(name) for name in names])
