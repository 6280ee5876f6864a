"""Write operators with several results (splits, maxima) as operators with one."""

import operator
from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
_SPLITS = {_ATEN.split.Tensor, _ATEN.split_with_sizes.default, _ATEN.chunk.default}
_MAX_POOLS = {
    _ATEN.max_pool2d_with_indices.default: _ATEN.max_pool2d.default,
    _ATEN.max_pool3d_with_indices.default: _ATEN.max_pool3d.default,
}
_MOMENTS = {
    _ATEN.var_mean.correction: _ATEN.var.correction,
    _ATEN.var_mean.dim: _ATEN.var.correction,
    _ATEN.std_mean.correction: _ATEN.std.correction,
    _ATEN.std_mean.dim: _ATEN.std.correction,
}
_EXTREMA = {_ATEN.max.dim: _ATEN.amax.default, _ATEN.min.dim: _ATEN.amin.default}


def split_lists(clip_graph: fx.GraphModule) -> PassResult:
    """Replace each result of such an operator by an operator with one result."""
    graph, changed = clip_graph.graph, False
    for node in list(graph.nodes):
        if node.target is not operator.getitem:
            continue
        source, index = node.args
        written = _single_result(source, index)
        if written is None:
            continue
        with graph.inserting_before(node):
            single = insert(node, *written)
        replace(node, single)
        changed = True
    return PassResult(graph.eliminate_dead_code() or changed)


def _single_result(source: Any, index: int) -> tuple[Any, tuple, dict] | None:
    target = source.target
    if target in _SPLITS:
        args = arguments(source)
        x, dim = args["self"], args["dim"]
        values = source.meta["val"]
        # In `split` and `chunk` all parts but the last are of one size.
        sizes = args.get("split_sizes")
        start = index * values[0].shape[dim] if sizes is None else sum(sizes[:index])
        return _ATEN.slice.Tensor, (x, dim, start, start + values[index].shape[dim]), {}
    if target is _ATEN.unbind.int:
        args = arguments(source)
        return _ATEN.select.int, (args["self"], args["dim"], index), {}
    if target in _MAX_POOLS and index == 0:
        return _MAX_POOLS[target], source.args, source.kwargs
    if target in _MOMENTS:
        args = arguments(source)
        dims = args["dim"] or list(range(len(args["self"].meta["val"].shape)))
        if index == 1:
            return _ATEN.mean.dim, (args["self"], dims, args["keepdim"]), {}
        correction = args.get("correction", int(args.get("unbiased", True)))
        options = {"correction": correction, "keepdim": args["keepdim"]}
        return _MOMENTS[target], (args["self"], dims), options
    if target in _EXTREMA and index == 0:
        args = arguments(source)
        return _EXTREMA[target], (args["self"], [args["dim"]], args["keepdim"]), {}
    if target is _ATEN.adaptive_max_pool3d.default and index == 0:
        x, size = source.args
        clip = x.meta["val"].shape
        if all(wanted == 1 for wanted in size):
            return _ATEN.amax.default, (x, list(range(2, len(clip))), True), {}
    return None
