"""Select from an axis before it is moved in front of the batch, instead of after it.

Vision transformers compute queries, keys and values in one layer, move their axis to the front and
unbind it: `qkv.reshape(N, L, 3, H, D).permute(2, 0, 3, 1, 4).unbind(0)`.
"""

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten


def pick_before_permutes(clip_graph: fx.GraphModule) -> PassResult:
    """Write select(permute(x)) as permute(select(x)) where the permute moves the batch."""
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target is not _ATEN.select.int:
            continue
        args = arguments(node)
        moved, rank = args["self"], len(args["self"].meta["val"].shape)
        if moved.target is not _ATEN.permute.default:
            continue
        dims = [d % rank for d in arguments(moved)["dims"]]
        if dims[0] == 0:
            continue
        picked = dims[args["dim"] % rank]
        order = [d - (d > picked) for d in dims if d != picked]
        with clip_graph.graph.inserting_before(node):
            part = insert(node, _ATEN.select.int, (moved.args[0], picked, args["index"]))
            replace(node, insert(node, _ATEN.permute.default, (part, order)))
        changed = True
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)
