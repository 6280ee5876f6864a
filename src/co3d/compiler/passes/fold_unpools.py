"""Write spatial max-unpools frame by frame: their indices are relative to the whole clip."""

import operator
from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.windows import per_axis

_ATEN = torch.ops.aten


def fold_unpools(clip_graph: fx.GraphModule) -> PassResult:
    """Fold frames into the batch around unpools, so that indices are relative to a frame.

    The rules refuse pools and unpools that mix frames.
    """
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target is _ATEN.max_unpool3d.default:
            with clip_graph.graph.inserting_before(node):
                unpooled = _write_folded(node)
            if unpooled is not None:
                replace(node, unpooled)
                changed = True
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _write_folded(node: fx.Node) -> fx.Node | None:
    args = arguments(node)
    values, places, size = args["self"], args["indices"], args["output_size"]
    pool: Any = places.args[0]
    if getattr(pool, "target", None) is not _ATEN.max_pool3d_with_indices.default:
        return None
    options = arguments(pool)
    kernel = per_axis(options["kernel_size"], 3)
    stride = per_axis(options["stride"] or kernel, 3)
    padding, dilation = per_axis(options["padding"], 3), per_axis(options["dilation"], 3)
    x = options["self"]
    frames = x.meta["val"].shape[2]
    if len(x.meta["val"].shape) != 5 or (kernel[0], stride[0], padding[0]) != (1, 1, 0):
        return None
    if not frames == size[0] == values.meta["val"].shape[2]:
        return None
    space = [list(sizes[1:]) for sizes in (kernel, stride, padding, dilation)]
    rest = (*space, options["ceil_mode"])
    found = insert(node, _ATEN.max_pool2d_with_indices.default, (_fold(node, x), *rest))
    own = insert(node, operator.getitem, (found, 1))
    folded = (_fold(node, values), own, list(size[1:]))
    made = insert(node, _ATEN.max_unpool2d.default, folded)
    apart = [-1, frames, *made.meta["val"].shape[1:]]
    unfolded = insert(node, _ATEN.reshape.default, (made, apart))
    return insert(node, _ATEN.permute.default, (unfolded, [0, 2, 1, 3, 4]))


def _fold(node: fx.Node, clip: fx.Node) -> fx.Node:
    """(N, C, T, H, W) -> (N·T, C, H, W)."""
    _, channels, _, *space = clip.meta["val"].shape
    turned = insert(node, _ATEN.permute.default, (clip, [0, 2, 1, 3, 4]))
    return insert(node, _ATEN.reshape.default, (turned, [-1, channels, *space]))
