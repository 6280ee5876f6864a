"""Frame picking: take every n-th frame instead of a table of frames.

SlowFast's slow pathway sees every alpha-th frame (arXiv:1812.03982, section 3.1). Upstream takes
`floor(linspace(0, T - 1, T // alpha))`, which for T=32, alpha=4 is 0, 4, 8, 13, 17, … A stream
has no T, so it takes every alpha-th frame.
"""

import torch
from torch import fx

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult

_ATEN = torch.ops.aten
_TIME = 2


def even_out_frame_picking(clip_graph: fx.GraphModule) -> PassResult:
    """Replace even and nearly even picks of frames by strides; each is an approximation.

    A stride that picks the same frames equals the network on clips of the training length, but not
    on longer ones, where a table or a resize picks others. Uneven picks, and those of one frame,
    are left to the rules.
    """
    report, changed = [], False
    for node in list(clip_graph.graph.nodes):
        picked = _picked_frames(clip_graph, node)
        if picked is None or len(picked[1]) < 2:
            continue
        x, frames = picked
        length = x.meta["val"].shape[_TIME]
        stride = max(1, length // max(1, len(frames)))
        even = list(range(0, length, stride))
        if len(even) != len(frames) or any(
            abs(a - b) >= stride for a, b in zip(even, frames, strict=True)
        ):
            continue
        with clip_graph.graph.inserting_before(node):
            strided = insert(node, _ATEN.slice.Tensor, (x, _TIME, 0, length, stride))
        replace(node, strided)
        changed = True
        instead = f"frames {', '.join(map(str, frames))}" if even != frames else "these of a clip"
        path = node.meta["origin"].module_path or "model"
        report.append(
            f"{path}: takes every {stride}th frame (0, {stride}, {2 * stride} …) instead of "
            f"{instead}"
        )
    return PassResult(changed, tuple(report))


def _picked_frames(clip_graph: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, list[int]] | None:
    """Operand and frame indices, if a node picks frames of a (N, C, T, H, W) value by a table."""
    if node.target is not _ATEN.index_select.default:
        return None
    x, dim, table = node.args
    if not isinstance(x, fx.Node) or not isinstance(table, fx.Node) or table.op != "get_attr":
        return None
    if len(x.meta["val"].shape) != 5 or dim not in (_TIME, _TIME - 5):
        return None
    return x, clip_graph.get_buffer(str(table.target)).flatten().tolist()
