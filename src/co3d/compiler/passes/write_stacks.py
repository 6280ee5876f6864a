"""Write stacks as concatenations of values with one more axis."""

import torch
from torch import fx

from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten


def write_stacks(clip_graph: fx.GraphModule) -> None:
    """Replace `stack(tensors, dim)` by `cat` of each tensor unsqueezed there."""
    graph = clip_graph.graph
    for node in list(graph.nodes):
        if node.target is not _ATEN.stack.default:
            continue
        args = arguments(node)
        dim = args["dim"] % len(node.meta["val"].shape)
        with graph.inserting_before(node):
            parts = []
            for tensor in args["tensors"]:
                parts.append(graph.call_function(_ATEN.unsqueeze.default, (tensor, dim)))
                value = tensor.meta["val"].unsqueeze(dim)
                parts[-1].meta = {"origin": node.meta["origin"], "val": value}
            joined = graph.call_function(_ATEN.cat.default, (parts, dim))
        joined.meta = dict(node.meta)
        node.replace_all_uses_with(joined)
        graph.erase_node(node)
