"""Remove operators that do nothing in evaluation: dropout's copies, memory-format clones."""

import torch
from torch import fx

from co3d.compiler.insertion import replace
from co3d.compiler.passes.result import PassResult

_NOOPS = {
    torch.ops.aten.clone.default,
    torch.ops.aten.contiguous.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.dropout.default,
    torch.ops.aten.alias.default,
}


_VIEWS = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}
# Export's assertions on shapes. Shapes are fixed, so that they hold.
_CHECKS = {
    torch.ops.aten._assert_tensor_metadata.default,
    torch.ops.aten._assert_scalar.default,
}


def drop_noops(clip_graph: fx.GraphModule) -> PassResult:
    """Replace every no-op by its input, and remove assertions."""
    changed = False
    for node in reversed(list(clip_graph.graph.nodes)):
        if node.op == "call_function" and node.target in _CHECKS:
            clip_graph.graph.erase_node(node)
            changed = True
    for node in list(clip_graph.graph.nodes):
        if node.op == "call_function" and (node.target in _NOOPS or _adds_nothing(node)):
            replace(node, node.args[0])
            changed = True
        elif node.target in _VIEWS:
            # Copies that made a value contiguous are gone.
            node.target = torch.ops.aten.reshape.default
            changed = True
    return PassResult(changed)


def _adds_nothing(node: fx.Node) -> bool:
    """Whether a node adds the number 0, with which Python's `sum` starts."""
    return (
        node.target is torch.ops.aten.add.Tensor
        and type(node.args[1]) in (int, float)
        and node.args[1] == 0
        and node.meta["val"].dtype == node.args[0].meta["val"].dtype  # type: ignore[union-attr]
    )
