"""Reads what patterns ask of a step graph: shapes, constants, convolutions, sums."""

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import MOST_SOURCES, POINT

_aten = torch.ops.aten
# Operators have two spellings: what streams is written with functions of torch, and what the
# compiler takes over from a clip network as it is, such as layers of folded frames, with ATen's.
ADD = (torch.add, _aten.add.Tensor, operator.add)
CAT = (torch.cat, _aten.cat.default)
CONVOLVE = (torch.conv2d, _aten.conv2d.default)
MUL = (torch.mul, _aten.mul.Tensor, operator.mul)


class GraphReader:
    """Knows the values and the constants of one graph.

    Args:
        exact: the graph with the weights that are to be packed.
        values: what each node makes: tensors without data suffice.
        dtype: of the numbers that kernels compute with.
    """

    def __init__(
        self, exact: fx.GraphModule, values: Mapping[fx.Node, Any], dtype: torch.dtype
    ) -> None:
        self._exact, self._values, self._dtype = exact, values, dtype

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
        if not self.is_map(source) or not self.is_known(bias):
            return None
        geometry = {
            name: default if size is None else read_pair(size)
            for (name, default), size in zip(POINT.items(), sizes, strict=True)
        }
        return source, constant, self.constant(bias), geometry, 1 if groups is None else groups

    def is_dense(self, node: fx.Node) -> bool:
        """Whether a node is a convolution without groups."""
        parts = self.read_convolution(node)
        return parts is not None and parts[4] == 1

    def can_join(self, node: fx.Node) -> bool:
        """Whether a concatenation puts few maps side by side along their channels."""
        parts, dim = read_arguments(node, "tensors", "dim")
        if dim != 1 or not isinstance(parts, list | tuple) or len(parts) > MOST_SOURCES:
            return False
        return all(self.is_map(part) for part in parts)

    def per_channel(self, factor: Any, node: fx.Node) -> Tensor | None:
        """A weight of one number per channel of a node, as (channels,)."""
        constant = self.constant(factor)
        channels = self.shape(node)[1]
        shapes = ((channels, 1, 1), (1, channels, 1, 1))
        if constant is None or tuple(constant.shape) not in shapes:
            return None
        return constant.reshape(channels)

    def constant(self, node: Any) -> Tensor | None:
        """The tensor of a node that is a weight."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        return getattr(self._exact, str(node.target))

    def is_known(self, node: Any) -> bool:
        """Whether an operand is a weight, or missing."""
        return node is None or self.constant(node) is not None

    def is_float(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether a node makes numbers that kernels compute with."""
        value = self._values.get(node)
        return isinstance(value, Tensor) and value.dtype == self._dtype

    def is_map(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether it is a floating (N, C, H, W) that a step makes or is given."""
        return self.is_made(node) and len(self.shape(node)) == 4

    def is_made(self, node: Any) -> TypeGuard[fx.Node]:
        """Whether it holds floating numbers that a step makes or is given."""
        return isinstance(node, fx.Node) and node.op != "get_attr" and self.is_float(node)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """The shape of what a node makes."""
        return tuple(self._values[node].shape)

    def adds_alike(self, node: fx.Node) -> bool:
        """Whether a node adds two maps of its own shape."""
        return node.target in ADD and self.takes_alike(node)

    def takes_alike(self, node: fx.Node) -> bool:
        """Whether a node takes two maps of its own shape, and nothing else."""
        if len(node.args) != 2 or node.kwargs:
            return False
        shape = self.shape(node)
        return all(
            isinstance(x, fx.Node) and self.is_map(x) and self.shape(x) == shape for x in node.args
        )

    def find_terms(self, root: fx.Node) -> tuple[list[fx.Node], set[fx.Node]]:
        """What a tree of additions of equal shapes adds, and its nodes."""
        leaves: list[fx.Node] = []
        inner: set[fx.Node] = set()

        def visit(node: fx.Node) -> None:
            if self.adds_alike(node) and (node is root or len(node.users) == 1):
                inner.add(node)
                for operand in node.args[:2]:
                    assert isinstance(operand, fx.Node)
                    visit(operand)
            else:
                leaves.append(node)

        visit(root)
        return leaves, inner


def find_values(graph: fx.GraphModule, examples: Sequence[Tensor]) -> Mapping[fx.Node, Any]:
    """What each node makes, as tensors of the meta device, which have no data.

    PyTorch's fake tensors would say the same, and their code alone takes seconds to import.
    """
    values: dict[fx.Node, Any] = {}
    given = iter(examples)
    # What operators make of no tensor, such as a range, has no data either.
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
    """A size that may be given once for both axes, as a number or as a list of one."""
    first, *rest = (value,) if isinstance(value, int) else value
    return (first, rest[0] if rest else first)


def read_arguments(node: fx.Node, *names: str) -> Iterator[Any]:
    """Arguments by position or by name; None where they are missing."""
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return iter([given.get(name) for name in names])
