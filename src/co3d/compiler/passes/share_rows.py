"""Shrinks constants that were exported for a batch, such as zeros for each row, to one row."""

import torch
from torch import Tensor, fx

from co3d.compiler.insertion import insert_constant
from co3d.compiler.passes.result import PassResult


def share_rows(clip_graph: fx.GraphModule) -> PassResult:
    """Keep one row of a constant with equal rows, where an operator broadcasts it to the batch.

    `x * torch.zeros(len(x), …)` is exported with zeros for as many rows as the exported batch.
    """
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.op != "get_attr":
            continue
        readers = [reader for reader in node.users if _adds_batch(reader, node)]
        if not readers or not _has_equal_rows(clip_graph, node):
            continue
        for reader in readers:
            row = clip_graph.get_buffer(str(node.target))[:1]
            with clip_graph.graph.inserting_before(reader):
                shared = insert_constant(clip_graph, reader, f"{reader.name}_{node.name}_row", row)
            reader.replace_input_with(node, shared)
            changed = True
    return PassResult(clip_graph.graph.eliminate_dead_code() or changed)


def _has_equal_rows(clip_graph: fx.GraphModule, node: fx.Node) -> bool:
    tensor = clip_graph.get_buffer(str(node.target))
    return bool((tensor == tensor[:1]).all())


def _adds_batch(reader: fx.Node, constant: fx.Node) -> bool:
    """Whether an element-wise operator broadcasts the constant's rows to the batch."""
    value, own = reader.meta.get("val"), constant.meta["val"]
    others = [n for n in reader.all_input_nodes if n.op != "get_attr"]
    return (
        isinstance(value, Tensor)
        and torch.Tag.pointwise in getattr(reader.target, "tags", ())
        and value.dim() == own.dim() > 0
        and own.shape[0] > 1
        and any(n.meta["val"].dim() == value.dim() for n in others)
        and any(n.meta["val"].shape[0] == value.shape[0] for n in others)
    )
