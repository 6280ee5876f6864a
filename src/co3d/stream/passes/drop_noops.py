"""Remove what does nothing in evaluation: dropout's copies, memory-format clones."""

import torch
from torch import fx

_NOOPS = {
    torch.ops.aten.clone.default,
    torch.ops.aten.contiguous.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.dropout.default,
    torch.ops.aten.alias.default,
}


def drop_noops(clip_graph: fx.GraphModule) -> None:
    """Replace every no-op by its input."""
    for node in list(clip_graph.graph.nodes):
        if node.op == "call_function" and node.target in _NOOPS:
            node.replace_all_uses_with(node.args[0])
            clip_graph.graph.erase_node(node)
