"""Let the clip graph take any batch size: exported shapes get -1 instead of the fixed batch."""

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.passes.result import PassResult

_ATEN = torch.ops.aten


def free_batch(_clip_graph: fx.GraphModule, analysis: Analysis) -> PassResult:
    """Write `reshape(x, [batch, …])` and `expand(x, [batch, …])` with -1 for the batch.

    Their rules made sure that the first axis is the batch, or a product that begins with it.
    Operators rerun on whole clips are skipped, as no type tells where their batch is.
    """
    changed = False
    for node, lowering in analysis.lowerings.items():
        if node.target not in (_ATEN.reshape.default, _ATEN.expand.default):
            continue
        sizes = [-1, *node.meta["val"].shape[1:]]
        if not lowering.type.recomputed and node.args[1] != sizes:
            node.args = (node.args[0], sizes)
            changed = True
    return PassResult(changed)
