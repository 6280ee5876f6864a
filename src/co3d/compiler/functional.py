"""Functionalises an exported graph: operators without side effects, which the rules support.

`ExportedProgram.run_decompositions` does that for any graph, but traces the network twice more,
which takes half of a conversion's time, and most of it for small networks. Most networks need few
of its decompositions, which are written here directly.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_ATEN = torch.ops.aten
# Each returns a new tensor, never its input or a view of it.
MAKES_A_TENSOR = frozenset(
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
# In-place operator -> its functional form.
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
# Operators that return views. They stay unless something writes into the view or its base.
VIEWS = frozenset(
    {
        _ATEN.view.default,
        _ATEN.select.int,
        _ATEN.slice.Tensor,
        _ATEN.permute.default,
        _ATEN.transpose.int,
        _ATEN.squeeze.dim,
        _ATEN.unsqueeze.default,
        _ATEN.expand.default,
        _ATEN.split.Tensor,
        _ATEN.split_with_sizes.default,
        _ATEN.unbind.int,
    }
)
_BATCH_NORM, _DROPOUT = _ATEN.batch_norm.default, _ATEN.dropout.default
# Written as a view where strides allow it, else as a copy.
_RESHAPES = (_ATEN.reshape.default, _ATEN.flatten.using_ints, _ATEN.unflatten.int)
_CONTIGUOUS, _CHUNK = _ATEN.contiguous.default, _ATEN.chunk.default
_EXPAND_AS = _ATEN.expand_as.default


@dataclass(frozen=True)
class FunctionalExport:
    """An exported network whose graph has no side effects.

    Attributes:
        program: its weights and its signature.
        graph: its operators; may differ from the graph of `program`.
    """

    program: ExportedProgram
    graph: fx.Graph


def write_functional(exported: ExportedProgram) -> FunctionalExport:
    """Write an exported network's graph in operators without side effects.

    Nodes are named as `run_decompositions` names them.
    """
    if is_supported(exported.graph):
        return FunctionalExport(exported, _Writer().write(exported.graph))
    decomposed = exported.run_decompositions({})
    return FunctionalExport(decomposed, decomposed.graph)


def is_supported(graph: fx.Graph) -> bool:
    """Whether `_Writer` handles all operators of a graph."""
    return all(node.op != "call_function" or _is_supported(node) for node in graph.nodes)


def _is_supported(node: fx.Node) -> bool:
    """Whether `_Writer` handles an operator."""
    args: Any = node.args
    target = node.target
    if target in VIEWS or target is operator.getitem or _is_functional(target):
        return True
    if target in IN_PLACE:
        written = args[0]
        kinds = {operand.meta["val"].dtype for operand in node.all_input_nodes}
        makers = MAKES_A_TENSOR | IN_PLACE.keys() | {_BATCH_NORM}
        # It is the only reader of the tensor that it writes into, and writes values of its dtype.
        return written.target in makers and len(written.users) == len(kinds) == 1
    if node.kwargs:
        return False
    if target is _BATCH_NORM:
        is_training, statistics = args[5], args[3:5]
        return not is_training and all(isinstance(s, fx.Node) for s in statistics)
    if target is _DROPOUT:
        return not args[2]
    if target in _RESHAPES:
        return args[0].meta["val"].shape != node.meta["val"].shape
    return target in (_CONTIGUOUS, _CHUNK, _EXPAND_AS)


@cache
def _is_functional(target: Any) -> bool:
    """Whether an operator neither changes its arguments nor returns them or views of them.

    `run_decompositions({})` leaves these as they are, except that it copies constants.
    """
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return False
    if target is _ATEN.lift_fresh_copy.default:
        return False
    schema = target._schema
    values = (*schema.arguments, *schema.returns)
    aliases = schema.is_mutable or any(value.alias_info is not None for value in values)
    return not aliases and torch.Tag.maybe_aliasing_or_mutating not in target.tags


class _Writer:
    """Writes the functional form of a graph."""

    def __init__(self) -> None:
        self._graph = fx.Graph()
        self._written: dict[fx.Node, fx.Node] = {}
        self._writers: dict[Any, Callable[[fx.Node], fx.Node]] = {
            _DROPOUT: lambda node: self._written[node.all_input_nodes[0]],
            _BATCH_NORM: self._write_batch_norm,
            _CONTIGUOUS: self._write_contiguous,
            _CHUNK: self._write_chunk,
            _EXPAND_AS: self._write_expand,
            **dict.fromkeys(_RESHAPES, self._write_reshape),
        }

    def write(self, graph: fx.Graph) -> fx.Graph:
        """Write the whole graph, without unused nodes."""
        for node in graph.nodes:
            if node.op != "call_function":
                self._written[node] = self._graph.node_copy(node, self._written.__getitem__)
            elif node.target in self._writers:
                self._written[node] = self._writers[node.target](node)
            else:
                target: Any = IN_PLACE.get(node.target, node.target)
                given, named = fx.map_arg((node.args, node.kwargs), self._written.__getitem__)
                self._written[node] = self._add(node, target, given, node.meta["val"], named)
        self._graph.eliminate_dead_code()
        return self._graph

    def _write_batch_norm(self, node: fx.Node) -> fx.Node:
        x, weight, bias, mean, var, _, momentum, eps, *_ = self._map_arguments(node)
        value = node.meta["val"]
        values = (value, value.new_empty(0), value.new_empty(0))
        normed = self._add(
            node,
            _ATEN._native_batch_norm_legit_no_training.default,
            (x, weight, bias, mean, var, momentum, eps),
            values,
        )
        return self._add(node, operator.getitem, (normed, 0), value)

    def _write_contiguous(self, node: fx.Node) -> fx.Node:
        (x,) = self._map_arguments(node)
        if node.all_input_nodes[0].meta["val"].is_contiguous():
            return x
        return self._clone(node, x, node.meta["val"])

    def _write_reshape(self, node: fx.Node) -> fx.Node:
        x = self._map_arguments(node)[0]
        before, after = node.all_input_nodes[0].meta["val"], node.meta["val"]
        sizes = list(after.shape)
        if _can_be_viewed(before, sizes):
            asked = node.args[1] if node.target is _ATEN.reshape.default else sizes
            return self._add(node, _ATEN.view.default, (x, asked), after)
        cloned = self._clone(node, x, before.contiguous())
        return self._add(node, _ATEN._unsafe_view.default, (cloned, sizes), after)

    def _write_chunk(self, node: fx.Node) -> fx.Node:
        x, chunks, *rest = self._map_arguments(node)
        length = node.all_input_nodes[0].meta["val"].shape[rest[0] if rest else 0]
        return self._add(
            node, _ATEN.split.Tensor, (x, -(-length // chunks), *rest), node.meta["val"]
        )

    def _write_expand(self, node: fx.Node) -> fx.Node:
        after = node.meta["val"]
        return self._add(
            node, _ATEN.expand.default, (self._map_arguments(node)[0], list(after.shape)), after
        )

    def _clone(self, node: fx.Node, x: fx.Node, value: Any) -> fx.Node:
        named = {"memory_format": torch.contiguous_format}
        return self._add(node, _ATEN.clone.default, (x,), value, named)

    def _map_arguments(self, node: fx.Node) -> tuple[Any, ...]:
        """The arguments of a node in the new graph."""
        return fx.map_arg(node.args, self._written.__getitem__)  # type: ignore[return-value]

    def _add(
        self,
        node: fx.Node,
        target: Any,
        args: tuple[Any, ...],
        value: Any,
        kwargs: dict[str, Any] | None = None,
    ) -> fx.Node:
        name = getattr(target, "overloadpacket", target).__name__
        made = self._graph.create_node("call_function", target, args, kwargs, name=name)
        made.meta = {**node.meta, "val": value}
        return made


def _can_be_viewed(x: torch.Tensor, sizes: list[int]) -> bool:
    """Whether a tensor can be reshaped to these sizes without a copy."""
    try:
        torch.empty_strided(x.shape, x.stride(), device="meta").view(sizes)
    except RuntimeError:
        return False
    return True
