"""Let the clip graph take any batch: views that were exported with a fixed batch get -1 there."""

import torch
from torch import fx

_VIEWS = {
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.reshape.default,
}


def free_batch(clip_graph: fx.GraphModule) -> None:
    """Rewrite `view(x, [batch, …])` as `view(x, [-1, …])` where the batch stays the first axis."""
    for node in clip_graph.graph.nodes:
        if node.op != "call_function" or node.target not in _VIEWS:
            continue
        before, after = node.args[0].meta["val"].shape, node.meta["val"].shape
        if before[0] == after[0]:
            node.args = (node.args[0], [-1, *after[1:]])
