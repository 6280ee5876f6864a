"""Write `stack` as unsqueezes and a concatenation."""

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten


def write_stacks(clip_graph: fx.GraphModule) -> PassResult:
    """Replace `stack(tensors, dim)` by `cat` of each tensor unsqueezed there."""
    graph, changed = clip_graph.graph, False
    for node in list(graph.nodes):
        if node.target is not _ATEN.stack.default:
            continue
        args = arguments(node)
        dim = args["dim"] % len(node.meta["val"].shape)
        with graph.inserting_before(node):
            parts = [insert(node, _ATEN.unsqueeze.default, (t, dim)) for t in args["tensors"]]
            joined = insert(node, _ATEN.cat.default, (parts, dim))
        replace(node, joined)
        changed = True
    return PassResult(changed)
