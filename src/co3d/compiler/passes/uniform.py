"""Finds values of a clip graph that hold one number everywhere."""

from typing import Any

import torch
from torch import fx

_ATEN = torch.ops.aten
_FILLED: dict[Any, float] = {
    _ATEN.zeros.default: 0.0,
    _ATEN.zeros_like.default: 0.0,
    _ATEN.new_zeros.default: 0.0,
    _ATEN.ones.default: 1.0,
    _ATEN.ones_like.default: 1.0,
    _ATEN.new_ones.default: 1.0,
}
# Operator -> the index of the number among its arguments.
_FULL: dict[Any, int] = {
    _ATEN.full.default: 1,
    _ATEN.full_like.default: 1,
    _ATEN.new_full.default: 2,
}
_MOVES = {
    _ATEN.reshape.default,
    _ATEN.view.default,
    _ATEN.expand.default,
    _ATEN.repeat.default,
    _ATEN.permute.default,
    _ATEN.transpose.int,
    _ATEN.unsqueeze.default,
    _ATEN.squeeze.dim,
    _ATEN.squeeze.dims,
    _ATEN.select.int,
    _ATEN.slice.Tensor,
}


def filled_value(clip_graph: fx.GraphModule, node: fx.Node) -> float | None:
    """The one number of a uniform constant, or of `torch.full` and the like; None for others."""
    if node.op == "get_attr":
        tensor = clip_graph.get_buffer(str(node.target))
        if tensor.numel() and bool((tensor == tensor.flatten()[0]).all()):
            return float(tensor.flatten()[0])
        return None
    if node.target in _FULL:
        value = node.args[_FULL[node.target]]
        return float(value) if isinstance(value, (int, float)) else None
    return _FILLED.get(node.target)


def uniform_value(clip_graph: fx.GraphModule, node: fx.Node) -> float | None:
    """Like `filled_value`, also after permutations and slices."""
    while node.op == "call_function" and node.target in _MOVES:
        node = node.all_input_nodes[0]
    return filled_value(clip_graph, node)
