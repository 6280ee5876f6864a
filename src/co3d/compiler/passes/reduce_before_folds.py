"""Reduce axes before a reshape folds them into one."""

import math
from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
_REDUCTIONS = {_ATEN.mean.dim, _ATEN.sum.dim_IntList, _ATEN.amax.default, _ATEN.amin.default}
_VIEWS = {_ATEN.reshape.default, _ATEN.view.default}


def reduce_before_folds(clip_graph: fx.GraphModule) -> PassResult:
    """Write `x.flatten(2).mean(-1)` as `x.mean((2, 3, 4))`, in which time is an axis."""
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target in _REDUCTIONS:
            changed |= _write(node)
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _write(node: fx.Node) -> bool:
    args = arguments(node)
    folded = args["self"]
    after = tuple(folded.meta["val"].shape)
    dims = sorted(d % len(after) for d in (args["dim"] or range(len(after))))
    if folded.target not in _VIEWS or args.get("dtype") is not None:
        return False
    x: Any = folded.args[0]
    before = tuple(x.meta["val"].shape)
    axes_by_dim = [_find_axes(before, after, dim) for dim in dims]
    if any(axes is None for axes in axes_by_dim) or sum(map(len, axes_by_dim)) == len(dims):  # type: ignore[arg-type]
        return False
    reduced = [axis for axes in axes_by_dim if axes for axis in axes]
    kept = [d for d in range(len(before)) if d not in reduced]
    wanted = tuple(s for d, s in enumerate(after) if d not in dims)
    if tuple(before[d] for d in kept) != wanted:
        return False
    with node.graph.inserting_before(node):
        made = insert(node, node.target, (x, reduced, False))
        for dim in dims if args["keepdim"] else []:
            made = insert(node, _ATEN.unsqueeze.default, (made, dim))
    replace(node, made)
    return True


def _find_axes(before: tuple[int, ...], after: tuple[int, ...], dim: int) -> list[int] | None:
    """The axes that a reshape folded into one; None where that contains only part of an axis."""
    start, end = math.prod(after[:dim]), math.prod(after[: dim + 1])
    count, axes = 1, []
    for axis, size in enumerate(before):
        if count >= start and count * size <= end and size > 1:
            axes.append(axis)
        elif not (count * size <= start or count >= end):
            return None
        count *= size
    return axes
