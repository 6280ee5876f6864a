"""How much of a network the native kernels run."""

from collections.abc import Iterable

import torch
from torch import Tensor, fx

from co3d.backends.fusion.patterns import ACTIVATIONS, LINEAR, MEAN, VIEWS
from co3d.backends.fusion.pools import AVG_POOL, MAX_POOL, MAXIMUM
from co3d.backends.fusion.reader import ADD, CAT, CONVOLVE, MUL, read_arguments

# Beside convolutions: what kernels take into their operations, and what PyTorch runs between them
# once or twice a step.
_POOLS = (*MEAN, *AVG_POOL, *MAX_POOL, *MAXIMUM)
_FUSED = (*ADD, *CAT, *LINEAR, *MUL, *_POOLS, *VIEWS, *ACTIVATIONS, torch.addcmul)
_BESIDE = (torch.stack, torch.sum, torch.where)
_KNOWN = frozenset((*_FUSED, *_BESIDE))


def find_share(graphs: Iterable[fx.GraphModule]) -> float:
    """The share of the operators of step graphs that native kernels run, 0 to 1.

    Graphs without a 2-D convolution that is dense or depthwise, with constant weights, have none.
    """
    operators, run, convolutions = 0, 0, 0
    for graph in graphs:
        for node in graph.graph.nodes:
            if node.op != "call_function":
                continue
            operators += 1
            if node.target in CONVOLVE and _has_kernel(graph, node):
                convolutions += 1
            elif node.target in _KNOWN:
                run += 1
    return (run + convolutions) / operators if convolutions else 0.0


def _has_kernel(graph: fx.GraphModule, node: fx.Node) -> bool:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    _, weight, *_, groups = read_arguments(node, *names)
    constant = getattr(graph, str(weight.target), None) if isinstance(weight, fx.Node) else None
    if not isinstance(constant, Tensor):
        return False
    return groups in (None, 1) or tuple(constant.shape[:2]) == (groups, 1)
