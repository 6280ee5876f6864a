"""Write selections of frames (resizes, indexing) as slices and `index_select`."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments
from co3d.errors import ConversionError

_ATEN = torch.ops.aten
_NEAREST = {
    _ATEN.upsample_nearest1d.vec,
    _ATEN.upsample_nearest2d.vec,
    _ATEN.upsample_nearest3d.vec,
}


def write_frame_picks(clip_graph: fx.GraphModule) -> PassResult:
    """Replace a resize to fewer frames, and indexing by one tensor, by `index_select`.

    `interpolate(x, scale_factor=(1/8, 1, 1), mode="nearest")` is `index_select(x, 2, [0, 8, …])`,
    and `x[:, :, table]` is `index_select(x, 2, table)`, with non-negative indices.

    Raises:
        ConversionError: a table contains indices of frames that the clip does not have.
    """
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target in _NEAREST:
            changed |= _write_resize(clip_graph, node)
        elif node.target is _ATEN.index.Tensor:
            changed |= _write_index(node)
    for node in list(clip_graph.graph.nodes):
        if node.target is _ATEN.index_select.default:
            changed |= _count_from_start(clip_graph, node)
    return PassResult(changed)


def _write_resize(clip_graph: fx.GraphModule, node: fx.Node) -> bool:
    args = arguments(node)
    x = args["input"]
    before, after = x.meta["val"].shape, node.meta["val"].shape
    if before[2] <= after[2]:
        return False
    counted = torch.arange(before[2], dtype=torch.float64).view(1, 1, -1)
    size, scale = args["output_size"], args["scale_factors"]
    options = {"size": size[0]} if size else {"scale_factor": scale[0]}
    picked = F.interpolate(counted, mode="nearest", **options).long().flatten()
    with node.graph.inserting_before(node):
        resized = x
        if before[3:] != after[3:]:
            rest = ([before[2], *after[3:]], None) if size else (None, [1.0, *scale[1:]])
            resized = insert(node, node.target, (x, *rest))
        table = insert_constant(clip_graph, node, f"{node.name}_frames", picked)
        made = insert(node, _ATEN.index_select.default, (resized, 2, table))
    replace(node, made)
    return True


def _count_from_start(clip_graph: fx.GraphModule, node: fx.Node) -> bool:
    """Replace the negative indices of a table, counted from the end."""
    args = arguments(node)
    x, dim, table = args["self"], args["dim"], args["index"]
    if table.op != "get_attr":
        return False
    length, places = x.meta["val"].shape[dim], clip_graph.get_buffer(str(table.target))
    if places.numel() and not -length <= int(places.min()) <= int(places.max()) < length:
        raise ConversionError(
            f"cannot convert: {node.meta['origin'].source_line or 'the model'} picks places "
            f"{places.tolist()} of {length}; give clips that have these"
        )
    if not places.numel() or int(places.min()) >= 0:
        return False
    with node.graph.inserting_before(node):
        counted = insert_constant(clip_graph, node, f"{node.name}_places", places % length)
    node.args = (x, dim, counted)
    return True


def _write_index(node: fx.Node) -> bool:
    x: Any = node.args[0]
    tables: Any = node.args[1]
    given = [(dim, table) for dim, table in enumerate(tables) if table is not None]
    if len(given) != 1 or given[0][1].op != "get_attr":
        return False
    dim, table = given[0]
    value = table.meta["val"]
    if value.dim() != 1 or value.dtype == torch.bool:
        return False
    with node.graph.inserting_before(node):
        replace(node, insert(node, _ATEN.index_select.default, (x, dim, table)))
    return True
