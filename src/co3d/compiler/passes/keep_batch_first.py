"""Keep the batch first: layers on (T, N, C) are rewritten to (N, T, C)."""

from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
_PERMUTES = {_ATEN.permute.default, _ATEN.transpose.int}
_ALONG_LAST = {_ATEN.linear.default, _ATEN.layer_norm.default}
_ALONG_ONE = {
    _ATEN.softmax.int,
    _ATEN._softmax.default,
    _ATEN.log_softmax.int,
    _ATEN._log_softmax.default,
    _ATEN.slice.Tensor,
}
_REDUCTIONS = {_ATEN.mean.dim, _ATEN.sum.dim_IntList, _ATEN.amax.default, _ATEN.amin.default}


def keep_batch_first(clip_graph: fx.GraphModule) -> PassResult:
    """Move permutations that do not keep the batch first past their readers, until they cancel.

        x (N, T, C) -> permute (T, N, C) -> linear -> select(0, -1)
        x (N, T, C) -> linear -> select(1, -1)

    The permutation stays before readers that cannot be written for other axes.
    """
    changed = False
    for node in clip_graph.graph.nodes:  # nodes that are inserted after a node are visited too
        if node.target in _PERMUTES and _order(node)[0] != 0:
            changed |= _order_others_first(node)
            for reader in list(node.users):
                changed |= _move_behind(node, reader)
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _order(node: fx.Node) -> list[int]:
    """The axes of its input in the order of a permutation's result."""
    args = arguments(node)
    rank = len(node.meta["val"].shape)
    if node.target is _ATEN.permute.default:
        return [d % rank for d in args["dims"]]
    order = list(range(rank))
    first, second = args["dim0"] % rank, args["dim1"] % rank
    order[first], order[second] = second, first
    return order


def _order_others_first(node: fx.Node) -> bool:
    """Split a permutation into one of all other axes, then one that moves the batch.

    x (N, C, T) -> permute (N, T, C) -> permute (T, N, C)
    """
    order = _order(node)
    others = [0, *(axis for axis in order if axis)]
    if others == list(range(len(order))):
        return False
    with node.graph.inserting_before(node):
        ordered = insert(node, _ATEN.permute.default, (node.all_input_nodes[0], others))
    node.target = _ATEN.permute.default
    node.args = ordered, [others.index(axis) for axis in order]
    node.kwargs = {}
    return True


def _move_behind(node: fx.Node, reader: fx.Node) -> bool:
    """Move a permutation past one reader; returns whether that is possible."""
    if reader.op != "call_function":
        return False
    x, order = node.all_input_nodes[0], _order(node)
    with node.graph.inserting_before(reader):
        made = _rewrite(reader, node, x, order)
        if made is None:
            return False
        value, left = made
        if left != list(range(len(left))):
            value = insert(reader, _ATEN.permute.default, (value, left))
    replace(reader, value)
    return True


def _rewrite(
    reader: fx.Node, node: fx.Node, x: fx.Node, order: list[int]
) -> tuple[fx.Node, list[int]] | None:
    """The reader on the input of the permutation, and the permutation that its result needs."""
    target: Any = reader.target
    rest = reader.args[1:]
    if target in _PERMUTES:
        return x, [order[d] for d in _order(reader)]
    if target is _ATEN.select.int:
        dim = arguments(reader)["dim"] % len(order)
        picked = insert(reader, target, (x, order[dim], rest[1]))
        return picked, _without(order, [dim])
    if target is _ATEN.squeeze.dim or target is _ATEN.squeeze.dims:
        given = arguments(reader)["dim"]
        dims = [d % len(order) for d in (given if isinstance(given, (list, tuple)) else [given])]
        dims = [d for d in dims if node.meta["val"].shape[d] == 1]
        squeezed = insert(reader, _ATEN.squeeze.dims, (x, [order[d] for d in dims]))
        return squeezed, _without(order, dims)
    if target in _REDUCTIONS:
        args = arguments(reader)
        dims = [d % len(order) for d in (args["dim"] or range(len(order)))]
        reduced = insert(
            reader, target, (x, [order[d] for d in dims], args["keepdim"]), dict(reader.kwargs)
        )
        return reduced, order if args["keepdim"] else _without(order, dims)
    if target in _ALONG_ONE and not reader.kwargs:
        dim = arguments(reader)["dim"] % len(order)
        return insert(reader, target, (x, order[dim], *rest[1:])), order
    if target in _ALONG_LAST:
        over = 1 if target is _ATEN.linear.default else len(arguments(reader)["normalized_shape"])
        if order[-over:] != list(range(len(order) - over, len(order))):
            return None
    elif torch.Tag.pointwise not in getattr(target, "tags", ()):
        return None
    sources = {node: x}
    for operand in reader.all_input_nodes:
        if operand.target in _PERMUTES and _order(operand) == order:
            sources[operand] = operand.all_input_nodes[0]
        elif operand.op != "get_attr" or (
            target not in _ALONG_LAST and not _fits_any_order(operand, order)
        ):
            return None
    args, kwargs = fx.map_arg((reader.args, reader.kwargs), lambda n: sources.get(n, n))
    return insert(reader, target, args, kwargs), order  # type: ignore[arg-type]


def _fits_any_order(operand: fx.Node, order: list[int]) -> bool:
    """Whether an operand broadcasts to any order of axes."""
    shape = operand.meta["val"].shape
    return shape.numel() == 1 or (len(shape) == 1 and order[-1] == len(order) - 1)


def _without(order: list[int], dims: list[int]) -> list[int]:
    """The permutation that remains when some axes of the result are removed."""
    kept = [axis for place, axis in enumerate(order) if place not in dims]
    return [sorted(kept).index(axis) for axis in kept]
