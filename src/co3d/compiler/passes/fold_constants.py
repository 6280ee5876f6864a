"""Compute once what does not depend on the clip: index tables, positional constants."""

from typing import Any

import torch
from torch import fx


def fold_constants(clip_graph: fx.GraphModule) -> None:
    """Replace every operator whose operands are all constants by its result."""
    graph = clip_graph.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or any(n.op != "get_attr" for n in node.all_input_nodes):
            continue
        fetch = {n: clip_graph.get_buffer(str(n.target)) for n in node.all_input_nodes}
        args, kwargs = fx.map_arg((node.args, node.kwargs), fetch.__getitem__)
        target: Any = node.target
        result = target(*args, **kwargs)
        if not isinstance(result, torch.Tensor):
            continue
        clip_graph.register_buffer(f"{node.name}_folded", result)
        with graph.inserting_before(node):
            constant = graph.get_attr(f"{node.name}_folded")
        constant.meta = dict(node.meta)
        node.replace_all_uses_with(constant)
        graph.erase_node(node)
    graph.eliminate_dead_code()
