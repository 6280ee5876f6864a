"""Compares nodes of a clip graph: the same operator with equivalent arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

CompareOperands = Callable[[fx.Node, fx.Node], bool]


@dataclass(frozen=True)
class Pick:
    """A selection of one element of `x` along an axis, which it may keep with size one."""

    x: fx.Node
    dim: int
    index: int
    keeps_axis: bool

    @property
    def source(self) -> tuple[fx.Node, int]:
        """The value and the axis of which an element is selected."""
        return self.x, self.dim

    def has_same_form(self, other: "Pick") -> bool:
        """Whether two picks differ in nothing but their index."""
        return (self.source, self.keeps_axis) == (other.source, other.keeps_axis)


def are_equivalent(one: fx.Node, other: fx.Node, operands: CompareOperands) -> bool:
    """Whether two nodes are one operator with equal arguments; `operands` compares nodes."""
    return one.target == other.target and _compare(
        (one.args, one.kwargs), (other.args, other.kwargs), operands
    )


def are_equal_constants(clip_graph: fx.GraphModule, one: fx.Node, other: fx.Node) -> bool:
    """Whether two nodes are the same, or constants with equal values."""
    if one is other:
        return True
    if one.op != "get_attr" or other.op != "get_attr":
        return False
    a, b = (clip_graph.get_buffer(str(node.target)) for node in (one, other))
    return a.dtype == b.dtype and torch.equal(a, b)


def _compare(one: Any, other: Any, operands: CompareOperands) -> bool:
    if isinstance(one, fx.Node) and isinstance(other, fx.Node):
        return operands(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(
            _compare(a, b, operands) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_compare(one[k], other[k], operands) for k in one)
    return type(one) is type(other) and one == other
