"""Convolve space before time where that makes the state smaller."""

from typing import Any

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.tap_sum import sum_taps
from co3d.compiler.rules.windows import per_axis

_ATEN = torch.ops.aten


def convolve_space_first(clip_graph: fx.GraphModule, analysis: Analysis) -> PassResult:
    """Split depthwise convolutions with a stride in space into one per tap in time, and their sum.

    Equal up to rounding. A tap's result is smaller than its input frame:

        one of 3x3x3, stride 1x2x2     keeps 2 frames of 2H x 2W
        three of 1x3x3, and a sum      keep 2 results of H x W of the first tap, 1 of the second

    Dense convolutions are not split: one matrix product computes all of their taps.
    """
    found = [
        node
        for node in analysis.lowerings
        if node.target is _ATEN.conv3d.default
        and analysis.types[node].axis == 2  # neither folded into the batch nor rerun on clips
        and _is_worthwhile(clip_graph, node)
    ]
    for node in found:
        _split(clip_graph, node)
    return PassResult(bool(found))


def _is_worthwhile(clip_graph: fx.GraphModule, node: fx.Node) -> bool:
    args = arguments(node)
    x, weight = args["input"], args["weight"]
    if args["groups"] == 1 or len(x.users) > 1:
        return False
    _, depth, kernel_frames, *_ = clip_graph.get_buffer(str(weight.target)).shape
    stride, padding, dilation = _read_geometry(args)
    # The bias is added with the tap of the output's own frame, so that there must be one.
    has_centre = (
        padding[0] % dilation[0] == 0 and 2 * padding[0] <= (kernel_frames - 1) * dilation[0]
    )
    if depth > 1 or kernel_frames == 1 or stride[0] > 1 or not has_centre:
        return False
    before, after = (n.meta["val"].select(2, 0).numel() for n in (x, node))
    return after * sum(range(kernel_frames)) < before * (kernel_frames - 1)


def _split(clip_graph: fx.GraphModule, node: fx.Node) -> None:
    args = arguments(node)
    stride, padding, dilation = _read_geometry(args)
    weight = clip_graph.get_buffer(str(args["weight"].target))
    space = ([1, *stride[1:]], [0, *padding[1:]], [1, *dilation[1:]], args["groups"])
    taps: list[fx.Node] = []
    with clip_graph.graph.inserting_before(node):
        for tap in range(weight.shape[2]):
            name = f"{node.name}_tap{tap}"
            part = weight[:, :, tap : tap + 1].contiguous()
            own = insert_constant(clip_graph, node, f"{name}_weight", part)
            bias = args["bias"] if tap == padding[0] // dilation[0] else None
            taps.append(insert(node, node.target, (args["input"], own, bias, *space), name=name))
        total = insert(node, sum_taps, (taps, padding[0], dilation[0]))
    replace(node, total)


def _read_geometry(args: dict[str, Any]) -> list[tuple[int, ...]]:
    """Stride, padding and dilation, time first."""
    return [per_axis(args[name], 3) for name in ("stride", "padding", "dilation")]
