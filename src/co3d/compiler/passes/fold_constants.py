"""Constant folding: index tables, positional constants."""

from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert_constant, replace
from co3d.compiler.passes.result import PassResult


def fold_constants(clip_graph: fx.GraphModule) -> PassResult:
    """Replace every operator whose operands are all constants by its result."""
    graph, count = clip_graph.graph, 0
    # Results of operators that have several; `getitem` selects one.
    several: dict[fx.Node, Any] = {}

    def fetch(node: fx.Node) -> Any:
        return several[node] if node in several else clip_graph.get_buffer(str(node.target))

    for node in list(graph.nodes):
        if node.op != "call_function" or any(
            n.op != "get_attr" and n not in several for n in node.all_input_nodes
        ):
            continue
        target: Any = node.target
        args, kwargs = fx.map_arg((node.args, node.kwargs), fetch)
        result = target(*args, **kwargs)
        if isinstance(result, (list, tuple)):
            several[node] = result
        if not isinstance(result, torch.Tensor):
            continue
        with graph.inserting_before(node):
            constant = insert_constant(clip_graph, node, f"{node.name}_folded", result)
        replace(node, constant)
        count += 1
    return PassResult(graph.eliminate_dead_code() or count > 0)
