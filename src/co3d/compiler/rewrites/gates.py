"""Squeeze-and-excitation and other gates: pool each frame, or the newest ones, not the whole clip.

A gate that averages over all frames of a clip needs frames that a stream has not seen. Hedegaard
and Iosifidis (arXiv:2106.00050, section 3) pool the current frame alone (`scope="frame"`).
`scope="window"` pools as many of the newest frames as the clip had.
"""

from typing import Any

import torch
from torch import fx

from co3d.compiler.capture import propagate_shapes
from co3d.compiler.program import Scope
from co3d.compiler.rules.registry import UnsupportedError, arguments
from co3d.compiler.rules.sliding import sliding_mean

_ATEN = torch.ops.aten
_MEAN = _ATEN.mean.dim
_TIME = 2


def localise_gates(
    clip_graph: fx.GraphModule, gates: set[str], scope: Scope
) -> tuple[list[str], dict[fx.Node, UnsupportedError]]:
    """Let the named pools see what a stream has.

    Returns:
        One line per pool for the report, and the pools for which that cannot be done.
    """
    report, refusals = [], {}
    for node in list(clip_graph.graph.nodes):
        if node.name not in gates:
            continue
        try:
            _localise(clip_graph.graph, node, scope)
        except UnsupportedError as error:
            refusals[node] = error
            continue
        clip_graph.graph.erase_node(node)
        propagate_shapes(clip_graph)
        sees = "each frame" if scope == "frame" else "the newest frames"
        path = node.meta["origin"].module_path or "model"
        report.append(f"{path}: pools {sees} instead of the whole clip")
    return report, refusals


def _localise(graph: fx.Graph, node: fx.Node, scope: Scope) -> None:
    args = arguments(node)
    x, shape = args["self"], args["self"].meta["val"].shape
    dims = sorted(d % len(shape) for d in args["dim"])
    if _TIME not in dims or len(shape) < 4:
        raise _refuse("it has time elsewhere than at axis 2")
    if scope == "window" and node.target is not _MEAN:
        raise _refuse('with scope="window" only means over time can be gates')
    inside, meetings = _follow(node, len(shape))
    keeps_axes = all(len(value.meta["val"].shape) == len(shape) for value in inside)
    for _, gate in [] if keeps_axes else meetings:
        _time_of(gate, len(shape))
    writer = _Writer(graph, node)
    with graph.inserting_before(node):
        space = [d for d in dims if d != _TIME]
        pooled = writer.add(node.target, x, space, True) if space else x
        if scope == "window":
            pooled = writer.add(sliding_mean, pooled, shape[_TIME])
    if keeps_axes:
        node.replace_all_uses_with(pooled)
    else:
        _fold_gate(writer, node, pooled, shape, meetings)


def _fold_gate(
    writer: "_Writer",
    node: fx.Node,
    pooled: fx.Node,
    shape: torch.Size,
    meetings: list[tuple[fx.Node, fx.Node]],
) -> None:
    """Run what lies between pool and frames on (N·T, …): one gate per frame.

    pool (N, C, T, 1, 1) -> fold (N·T, C, 1, 1, 1) -> the gate's own layers -> (N·T, C, 1, 1, 1)
    -> unfold (N, C, T, 1, 1), where it meets the frames
    """
    clip_frames, rank = shape[_TIME], len(shape)
    with writer.graph.inserting_before(node):
        time_first = [0, _TIME, *(d for d in range(1, rank) if d != _TIME)]
        moved = writer.add(_ATEN.permute.default, pooled, time_first)
        gate_shape = list(node.meta["val"].shape)
        folded = writer.add(_ATEN.reshape.default, moved, [-1, *gate_shape[1:]])
    node.replace_all_uses_with(folded)
    for reader, gate in meetings:
        value = folded if gate is node else gate
        gate_shape = list(gate.meta["val"].shape)
        time = _time_of(gate, rank)
        with writer.graph.inserting_before(reader):
            # (N·T, …, 1, …) -> (N, T, …, 1, …) -> (N, …, T, …)
            apart = writer.add(_ATEN.reshape.default, value, [-1, clip_frames, *gate_shape[1:]])
            swapped = writer.add(_ATEN.transpose.int, apart, 1, time + 1)
            unfolded = writer.add(_ATEN.squeeze.dims, swapped, [1])
        reader.replace_input_with(value, unfolded)


class _Writer:
    """Adds nodes in the name of a gate's pool."""

    def __init__(self, graph: fx.Graph, node: fx.Node) -> None:
        self.graph = graph
        self._node = node

    def add(self, target: Any, x: fx.Node, *rest: Any) -> fx.Node:
        made = self.graph.call_function(target, (x, *rest))
        made.meta = {"origin": self._node.meta["origin"]}
        return made


def _follow(pool: fx.Node, rank: int) -> tuple[set[fx.Node], list[tuple[fx.Node, fx.Node]]]:
    """The values of a gate, and where they meet frames: (operator that joins, the gate's value)."""
    inside, meetings = {pool}, []
    for node in pool.graph.nodes:
        operands = [n for n in node.all_input_nodes if n in inside]
        if not operands or node.op == "output":
            continue
        others = [n for n in node.all_input_nodes if n not in inside and n.op != "get_attr"]
        if others or _meets_by_expansion(node, rank):
            meetings += [(node, operand) for operand in operands]
        else:
            inside.add(node)
    return inside, meetings


def _meets_by_expansion(node: fx.Node, rank: int) -> bool:
    shape = node.meta["val"].shape
    return node.target is _ATEN.expand.default and len(shape) == rank and shape[_TIME] > 1


def _time_of(gate: fx.Node, rank: int) -> int:
    """The axis of a gate's value that meets the time axis of its frames."""
    shape = tuple(gate.meta["val"].shape)
    time = _TIME - (rank - len(shape))
    if time < 1 or shape[time] != 1:
        raise _refuse(f"its value of shape {shape} has no place for time")
    return time


def _refuse(reason: str) -> UnsupportedError:
    return UnsupportedError(
        f"it is the pool of a gate, and {reason}",
        "keep clips as (N, C, T, H, W), pool with a mean and keepdim=True, and give the gate one "
        "value per channel",
    )
