"""Group and instance norms over a clip: with `scope="window"` by the newest frames' statistics.

A norm over a clip takes mean and variance of frames that a stream has not seen. The state is the
mean and the variance of each frame, two numbers per group, and no features.
"""

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.program import Scope
from co3d.compiler.rules.registry import UnsupportedError, arguments
from co3d.compiler.rules.sliding import sliding_mean, sliding_variance

_ATEN = torch.ops.aten


def slide_norms(clip_graph: fx.GraphModule, analysis: Analysis, scope: Scope) -> PassResult:
    """Let norms over a clip use the newest frames, as many as the clip has; else refuse them."""
    report, refusals = [], {}
    for node in list(clip_graph.graph.nodes):
        if node.name not in analysis.norms:
            continue
        if scope != "window":
            refusals[node] = UnsupportedError(
                "it normalises over time, by statistics of the whole clip",
                'convert with scope="window", for statistics of the newest frames (an '
                "approximation), fold frames into the batch so that it acts per frame, or use a "
                "batch norm",
            )
            continue
        path = node.meta["origin"].module_path or "model"
        report.append(f"{path}: normalises by the newest frames instead of the whole clip")
        with clip_graph.graph.inserting_before(node):
            replace(node, _write(clip_graph, node))
    return PassResult(bool(report), tuple(report), refusals)


def _write(clip_graph: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Write the norm with sliding statistics.

    of a frame    m = mean(x), v = mean((x - m)²)              over a group and space
    of a window   M = mean(m), V = mean(v) + variance(m)       over the newest frames
    result        (x - M) / sqrt(V + eps) · weight + bias
    """
    args = arguments(node)
    x: fx.Node = args["input"]
    shape = x.meta["val"].shape
    channels, window, space = shape[1], shape[2], len(shape) - 3
    groups = args.get("num_groups", channels)
    add, multiply = _ATEN.add.Tensor, _ATEN.mul.Tensor
    # The statistics of a group, one number per frame, have time at axis 2.
    apart, over = x, list(range(3, 3 + space))
    if groups < channels:  # (N, groups, channels of each, T, …)
        sizes = [-1, groups, channels // groups, *shape[2:]]
        apart = insert(node, _ATEN.reshape.default, (x, sizes))
        over = [2, *range(4, 4 + space)]

    def average(value: fx.Node) -> fx.Node:
        return insert(node, _ATEN.mean.dim, (value, over)) if over else value

    def expand(value: fx.Node) -> fx.Node:
        for dim in over:
            value = insert(node, _ATEN.unsqueeze.default, (value, dim))
        return value

    def subtract(value: fx.Node, mean: fx.Node) -> fx.Node:
        return insert(node, _ATEN.sub.Tensor, (value, expand(mean)))

    mean = average(apart)
    rest = subtract(apart, mean)
    within = insert(node, sliding_mean, (average(insert(node, multiply, (rest, rest))), window))
    between = insert(node, sliding_variance, (mean, window))
    variance = insert(node, add, (within, between))
    scale = insert(node, _ATEN.rsqrt.default, (insert(node, add, (variance, args["eps"])),))
    rest = subtract(apart, insert(node, sliding_mean, (mean, window)))
    result = insert(node, multiply, (rest, expand(scale)))
    if groups < channels:
        result = insert(node, _ATEN.reshape.default, (result, [-1, *shape[1:]]))
    for target, name in ((multiply, "weight"), (add, "bias")):
        if args[name] is not None:
            own = clip_graph.get_buffer(str(args[name].target))
            own = own.reshape(channels, *(1,) * (len(shape) - 2))
            constant = insert_constant(clip_graph, node, f"{node.name}_{name}", own)
            result = insert(node, target, (result, constant))
    return result
