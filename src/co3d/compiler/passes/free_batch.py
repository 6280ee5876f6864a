"""Let the clip graph take any batch: shapes that were exported with a fixed batch get -1 there."""

import torch
from torch import fx

from co3d.compiler.passes.result import PassResult

_ATEN = torch.ops.aten
_RESHAPE, _EXPAND = _ATEN.reshape.default, _ATEN.expand.default


def free_batch(clip_graph: fx.GraphModule, batch: int) -> PassResult:
    """Write `reshape(x, [batch · n, …])` and `expand(x, [batch, …])` with -1 for the batch.

    Frames that are folded into the batch come along: (N, T, …) to (N·T, …) and back.
    """
    changed = False
    for node in clip_graph.graph.nodes:
        if node.op != "call_function" or node.target not in (_RESHAPE, _EXPAND):
            continue
        if any(isinstance(size, fx.Node) for size in node.args[1]):
            continue
        before, after = node.args[0].meta["val"].shape, node.meta["val"].shape
        if node.target is _EXPAND:
            follows = len(before) == len(after) and before[0] == after[0]
        else:
            follows = after[0] % batch == 0
        if follows:
            node.args = (node.args[0], [-1, *after[1:]])
            changed = True
    return PassResult(changed)
