"""Replaces adaptive pools over time by pools with the kernel that they have for the training clip.

An adaptive pool to n elements has a kernel of T / n frames. A stream has no length T, so the length
of the training clip is used.
"""

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.windows import per_axis

_ATEN = torch.ops.aten


def fix_adaptive_pools(clip_graph: fx.GraphModule) -> PassResult:
    """Replace adaptive pools to several frames by strided ones; each is an approximation."""
    graph, report = clip_graph.graph, []
    for node in list(graph.nodes):
        if node.target is not _ATEN.adaptive_avg_pool3d.default:
            continue
        x, clip = node.args[0], node.args[0].meta["val"].shape
        time, *space = per_axis(node.args[1], 3)
        if len(clip) != 5 or time in (1, clip[2]) or clip[2] % time:
            continue
        ratio = clip[2] // time
        with graph.inserting_before(node):
            pooled = x
            if tuple(space) != tuple(clip[3:]):
                pooled = insert(node, node.target, (x, [clip[2], *space]))
            steps = [ratio, 1, 1]
            strided = insert(node, _ATEN.avg_pool3d.default, (pooled, steps, steps))
        replace(node, strided)
        report.append(
            f"{node.meta['origin'].module_path or 'model'}: pools {ratio} frames at a time, as it "
            f"does in a clip of {clip[2]} elements, whatever the length"
        )
    return PassResult(bool(report), tuple(report))
