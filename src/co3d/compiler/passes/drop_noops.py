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


_VIEWS = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}
# What export leaves of Python's own checks; the shapes are fixed, so they hold.
_CHECKS = {
    torch.ops.aten._assert_tensor_metadata.default,
    torch.ops.aten._assert_scalar.default,
}


def drop_noops(clip_graph: fx.GraphModule) -> None:
    """Replace every no-op by its input, and drop checks that have been made."""
    for node in reversed(list(clip_graph.graph.nodes)):
        if node.op == "call_function" and node.target in _CHECKS:
            clip_graph.graph.erase_node(node)
    for node in list(clip_graph.graph.nodes):
        if node.op == "call_function" and node.target in _NOOPS:
            node.replace_all_uses_with(node.args[0])
            clip_graph.graph.erase_node(node)
        elif node.target in _VIEWS:
            # Copies that made a value contiguous are gone.
            node.target = torch.ops.aten.reshape.default
