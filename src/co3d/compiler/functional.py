"""An exported graph in operators that have no side effects and are those that the rules know.

`ExportedProgram.run_decompositions` gives that for any graph, and traces the network twice more for
it: half of the time of a conversion. Networks of the usual layers need little of it, which is
written here directly.
"""

import copy
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_ATEN = torch.ops.aten
# `run_decompositions({})` leaves these as they are, and each makes a tensor of its own, not a view.
KEPT = frozenset(
    {
        _ATEN.conv1d.default,
        _ATEN.conv2d.default,
        _ATEN.conv3d.default,
        _ATEN.linear.default,
        _ATEN.add.Tensor,
        _ATEN.sub.Tensor,
        _ATEN.mul.Tensor,
        _ATEN.div.Tensor,
        _ATEN.relu.default,
        _ATEN.hardtanh.default,
        _ATEN.leaky_relu.default,
        _ATEN.gelu.default,
        _ATEN.silu.default,
        _ATEN.sigmoid.default,
        _ATEN.tanh.default,
        _ATEN.hardsigmoid.default,
        _ATEN.hardswish.default,
        _ATEN.avg_pool3d.default,
        _ATEN.max_pool3d.default,
        _ATEN.adaptive_avg_pool3d.default,
        _ATEN.mean.dim,
        _ATEN.cat.default,
    }
)
# Each with the operator that returns what it writes.
IN_PLACE = {
    _ATEN.add_.Tensor: _ATEN.add.Tensor,
    _ATEN.mul_.Tensor: _ATEN.mul.Tensor,
    _ATEN.relu_.default: _ATEN.relu.default,
    _ATEN.hardtanh_.default: _ATEN.hardtanh.default,
    _ATEN.leaky_relu_.default: _ATEN.leaky_relu.default,
    _ATEN.silu_.default: _ATEN.silu.default,
    _ATEN.sigmoid_.default: _ATEN.sigmoid.default,
    _ATEN.tanh_.default: _ATEN.tanh.default,
    _ATEN.hardsigmoid_.default: _ATEN.hardsigmoid.default,
    _ATEN.hardswish_.default: _ATEN.hardswish.default,
}
_BATCH_NORM, _DROPOUT = _ATEN.batch_norm.default, _ATEN.dropout.default
_FLATTEN = _ATEN.flatten.using_ints
_MAKES_A_TENSOR = KEPT | set(IN_PLACE) | {_BATCH_NORM}


@dataclass(frozen=True)
class FunctionalExport:
    """An exported network whose graph has no side effects.

    Attributes:
        program: its weights, and what its inputs and outputs are.
        graph: its operators, which may be another graph than that of `program`.
    """

    program: ExportedProgram
    graph: fx.Graph


def write_functional(exported: ExportedProgram) -> FunctionalExport:
    """Write an exported network's graph in operators without side effects.

    Nodes are named as `run_decompositions` names them.
    """
    if is_usual(exported.graph):
        return FunctionalExport(exported, _Writer().write(exported.graph))
    decomposed = exported.run_decompositions({})
    return FunctionalExport(decomposed, decomposed.graph)


def is_usual(graph: fx.Graph) -> bool:
    """Whether a graph has no operators but those that are written here directly."""
    return all(node.op != "call_function" or _is_usual(node) for node in graph.nodes)


def _is_usual(node: fx.Node) -> bool:
    """Whether an operator is among those that `_Writer` writes."""
    args: Any = node.args
    target = node.target
    if target in KEPT:
        return True
    if target in IN_PLACE:
        written = args[0]
        kinds = {operand.meta["val"].dtype for operand in node.all_input_nodes}
        # Nobody else sees the tensor that it writes into, and what it writes is of that kind.
        return written.target in _MAKES_A_TENSOR and len(written.users) == len(kinds) == 1
    if node.kwargs:
        return False
    if target is _BATCH_NORM:
        is_training, statistics = args[5], args[3:5]
        return not is_training and all(isinstance(s, fx.Node) for s in statistics)
    if target is _DROPOUT:
        return not args[2]
    if target is _FLATTEN:
        before, after = args[0].meta["val"], node.meta["val"]
        return before.is_contiguous() and before.shape != after.shape
    return False


class _Writer:
    """Writes a graph anew."""

    def __init__(self) -> None:
        self._graph = fx.Graph()
        self._written: dict[fx.Node, fx.Node] = {}

    def write(self, graph: fx.Graph) -> fx.Graph:
        """The whole graph."""
        for node in graph.nodes:
            if node.op != "call_function":
                self._written[node] = self._graph.node_copy(node, self._written.__getitem__)
            elif node.target is _DROPOUT:
                self._written[node] = self._written[node.args[0]]
            elif node.target is _BATCH_NORM:
                self._written[node] = self._write_batch_norm(node)
            elif node.target is _FLATTEN:
                sizes = list(node.meta["val"].shape)
                self._written[node] = self._add(
                    node, _ATEN.view.default, (node.args[0], sizes), node.meta["val"]
                )
            else:
                target: Any = IN_PLACE.get(node.target, node.target)
                self._written[node] = self._add(node, target, node.args, node.meta["val"])
        return self._graph

    def _write_batch_norm(self, node: fx.Node) -> fx.Node:
        x, weight, bias, mean, var, _, momentum, eps, *_ = node.args
        value = node.meta["val"]
        values = (value, value.new_empty(0), value.new_empty(0))
        normed = self._add(
            node,
            _ATEN._native_batch_norm_legit_no_training.default,
            (x, weight, bias, mean, var, momentum, eps),
            values,
        )
        made = self._graph.call_function(operator.getitem, (normed, 0))
        made.meta = copy.copy(node.meta)
        return made

    def _add(self, node: fx.Node, target: Any, args: tuple[Any, ...], value: Any) -> fx.Node:
        given, named = fx.map_arg((args, node.kwargs), self._written.__getitem__)
        name = target.overloadpacket.__name__
        made = self._graph.create_node("call_function", target, given, named, name=name)
        made.meta = {**node.meta, "val": value}
        return made
