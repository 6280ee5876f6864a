"""Squeeze-and-excitation and other gates: pool each frame instead of the whole clip.

A gate that averages over all frames of a clip needs frames that a stream has not seen. Hedegaard
and Iosifidis (arXiv:2106.00050, section 3) pool the current frame alone.
"""

import torch
from torch import fx

from co3d.errors import ConversionError

_MEAN = torch.ops.aten.mean.dim


def pool_gates_per_frame(clip_graph: fx.GraphModule, gates: set[str]) -> list[str]:
    """Drop the mean over time from the named pools; returns one line per pool for the report.

    Raises:
        ConversionError: a gate's pool is not a mean that keeps its dimensions.
    """
    report = []
    for node in list(clip_graph.graph.nodes):
        if node.name not in gates:
            continue
        origin = node.meta["origin"]
        keeps_axis = node.target is _MEAN and len(node.args) > 2 and node.args[2]
        if not keeps_axis or not _reaches_frames(node):
            raise ConversionError(
                f"cannot convert the gate in {origin.module_path or 'the model'} "
                f"({origin.module_class}; {origin.source_line}): its pool over the clip drops "
                "dimensions before it meets the frames again; use keepdim=True and 1x1x1 "
                "convolutions instead of linear layers"
            )
        node.replace_all_uses_with(node.args[0])
        clip_graph.graph.erase_node(node)
        report.append(f"{origin.module_path}: pools each frame instead of the whole clip")
    return report


def _reaches_frames(pool: fx.Node) -> bool:
    """Whether the pooled value keeps five axes until it meets frames."""
    pending, seen = [pool], set()
    while pending:
        node = pending.pop()
        shape = node.meta["val"].shape if "val" in node.meta else (0,) * 5
        if len(shape) != 5:
            return False
        if len(shape) == 5 and shape[2] > 1:
            continue
        pending += [user for user in node.users if user not in seen and user.op != "output"]
        seen.update(node.users)
    return True
