"""Which networks the native kernels run."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.backends.fusion.patterns import ACTIVATIONS, AVG_POOL, LINEAR, MEAN, MUL, VIEWS
from co3d.backends.fusion.reader import ADD, CAT, CONVOLVE, read_arguments

# Beside convolutions: what kernels take into their operations, and what PyTorch runs between them
# once or twice a step.
_KNOWN = frozenset(
    (*ADD, *CAT, *LINEAR, *MEAN, *MUL, *AVG_POOL, *VIEWS, *ACTIVATIONS)
    + (torch.addcmul, torch.stack, torch.sum, torch.where, torch.maximum, F.max_pool2d)
)


def has_kernels(graphs: Iterable[fx.GraphModule]) -> bool:
    """Whether native kernels run all but a few operators of step graphs.

    Such graphs have 2-D convolutions, all of which are dense or depthwise with constant weights,
    and no operator that kernels neither run nor expect.
    """
    convolutions = 0
    for graph in graphs:
        for node in graph.graph.nodes:
            if node.target in CONVOLVE:
                if not _has_kernel(graph, node):
                    return False
                convolutions += 1
            elif node.op == "call_function" and node.target not in _KNOWN:
                return False
    return convolutions > 0


def _has_kernel(graph: fx.GraphModule, node: fx.Node) -> bool:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    _, weight, *_, groups = read_arguments(node, *names)
    constant = getattr(graph, str(weight.target), None) if isinstance(weight, fx.Node) else None
    if not isinstance(constant, Tensor):
        return False
    return groups in (None, 1) or tuple(constant.shape[:2]) == (groups, 1)
