"""Which networks the native kernels run."""

from collections.abc import Iterable

import torch
from torch import Tensor, fx


def has_kernels(graphs: Iterable[fx.GraphModule]) -> bool:
    """Whether step graphs have 2-D convolutions, and native kernels for all of them."""

    def has_kernel(graph: fx.GraphModule, node: fx.Node) -> bool:
        weight = node.args[1]
        assert isinstance(weight, fx.Node)
        constant = getattr(graph, str(weight.target), None)
        groups = node.kwargs.get("groups", 1)
        if not isinstance(constant, Tensor) or not isinstance(groups, int):
            return False
        return groups == 1 or tuple(constant.shape[:2]) == (groups, 1)

    found = [
        has_kernel(graph, node)
        for graph in graphs
        for node in graph.graph.nodes
        if node.target is torch.conv2d
    ]
    return bool(found) and all(found)
