"""Fuse padding in time into the convolution that follows.

A separate pad delays each frame by the padding before it:

    pad 1, then a kernel of 3        delay 2
    a kernel of 3 with padding 1     delay 1, the same results
"""

from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.windows import per_axis

_ATEN = torch.ops.aten
_PADS = {_ATEN.constant_pad_nd.default, _ATEN.pad.default}
_CONVOLUTIONS = {_ATEN.conv1d.default, _ATEN.conv3d.default}


def fuse_time_pads(clip_graph: fx.GraphModule) -> PassResult:
    """Write conv(pad(x)) as a convolution with padding.

    A convolution pads both sides equally. Of unequal pads it gets the larger one, and a slice
    removes the surplus results.
    """
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target in _CONVOLUTIONS:
            changed |= _fuse(node)
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _fuse(node: fx.Node) -> bool:
    args = arguments(node)
    pad, axes = args["input"], len(node.meta["val"].shape) - 2
    if pad.target not in _PADS or axes not in (1, 3):
        return False
    padded = arguments(pad)
    if padded.get("mode", "constant") != "constant":
        return False
    flat = list(padded["pad"])
    flat += [0] * (2 * axes - len(flat))
    start, end = flat[2 * axes - 2 : 2 * axes]
    around = flat[2 * axes :]
    if padded["value"] or any(around) or min(start, end) < 0 or not max(start, end):
        return False
    stride, padding = per_axis(args["stride"], axes), list(per_axis(args["padding"], axes))
    start, end = start + padding[0], end + padding[0]
    if (start - end) % stride[0]:
        return False
    padding[0] = max(start, end)
    space = flat[: 2 * axes - 2]
    with node.graph.inserting_before(node):
        x = padded["self"]
        if any(space):
            x = insert(node, _ATEN.constant_pad_nd.default, (x, space, 0.0))
        rest: dict[str, Any] = {**args, "input": x, "padding": padding}
        made = insert(node, node.target, tuple(rest.values()))
        first, surplus = ((padding[0] - n) // stride[0] for n in (start, end))
        if first or surplus:
            last = made.meta["val"].shape[2] - surplus
            made = insert(node, _ATEN.slice.Tensor, (made, 2, first, last))
    replace(node, made)
    return True
