"""How much of a network the native kernels run."""

from collections.abc import Iterable

import torch
from torch import Tensor, fx

from co3d.backends.fusion.patterns import ACTIVATIONS, LINEAR, MEAN, VIEWS
from co3d.backends.fusion.pools import AVG_POOL, MAX_POOL, MAXIMUM
from co3d.backends.fusion.reader import ADD, CAT, CONVOLVE, MUL, read_arguments

# Besides convolutions: operators that kernels fuse, and operators that PyTorch runs between kernels
# once or twice a step, which costs little.
_POOLS = (*MEAN, *AVG_POOL, *MAX_POOL, *MAXIMUM)
_FUSED = (*ADD, *CAT, *LINEAR, *MUL, *_POOLS, *VIEWS, *ACTIVATIONS, torch.addcmul)
_RUN_BY_TORCH = (torch.stack, torch.sum, torch.where)
_KNOWN = frozenset((*_FUSED, *_RUN_BY_TORCH))


def find_coverage(graphs: Iterable[fx.GraphModule]) -> float:
    """The share of step graphs' operators that native kernels run, 0 to 1.

    It is 0 unless a graph has a dense or depthwise 2-D convolution with constant weights.
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
