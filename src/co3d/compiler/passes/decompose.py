"""Decompose operators without a rule into others, by torch's own decompositions.

Runs at capture, as the sizes that it writes into a graph may scale with the batch.
"""

from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult

_ATEN = torch.ops.aten
# Operators that torch decomposes, by its decomposition table or whenever they run.
_BY_TORCH: set[Any] = {
    _ATEN.column_stack.default,
    _ATEN.diff.default,
    _ATEN.dstack.default,
    _ATEN.fliplr.default,
    _ATEN.flipud.default,
    _ATEN.frobenius_norm.dim,
    _ATEN.hstack.default,
    _ATEN.norm.Scalar,
    _ATEN.norm.ScalarOpt_dim,
    _ATEN.pairwise_distance.default,
    _ATEN.rot90.default,
    _ATEN.take_along_dim.default,
    _ATEN.tile.default,
    _ATEN.vstack.default,
}
_TABLE: Any = get_decompositions(list(_BY_TORCH))


def decompose(clip_graph: fx.GraphModule) -> PassResult:
    """Decompose each such operator whose arguments its decomposition supports."""
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target in _BY_TORCH:
            with clip_graph.graph.inserting_before(node):
                changed |= _write_by_torch(clip_graph, node)
    return PassResult(changed)


def _write_by_torch(clip_graph: fx.GraphModule, node: fx.Node) -> bool:
    operands = node.all_input_nodes
    target: Any = node.target

    def run(*values: Tensor) -> Any:
        given = dict(zip(operands, values, strict=True))
        args, kwargs = fx.map_arg((node.args, node.kwargs), given.__getitem__)
        return target(*args, **kwargs)

    traced = make_fx(run, decomposition_table=_TABLE)(*(n.meta["val"] for n in operands))
    calls = [n for n in traced.graph.nodes if n.op == "call_function"]
    if any(n.target == target or n.target._schema.is_mutable for n in calls if _is_aten(n)):
        return False
    inputs = iter(operands)
    made: dict[fx.Node, Any] = {}
    for one in traced.graph.nodes:
        if one.op == "placeholder":
            made[one] = next(inputs)
        elif one.op == "get_attr":
            tensor, name = getattr(traced, str(one.target)), f"{node.name}_{one.name}"
            made[one] = insert_constant(clip_graph, node, name, tensor)
        elif one.op == "call_function":
            args, kwargs = fx.map_arg((one.args, one.kwargs), made.__getitem__)
            made[one] = insert(node, one.target, args, kwargs)
        else:
            _replace_results(node, fx.map_arg(one.args[0], made.__getitem__))
    return True


def _is_aten(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload)


def _replace_results(node: fx.Node, results: Any) -> None:
    """Replace a node by its result, or each `getitem` of a node by the result that it selects."""
    if isinstance(results, fx.Node):
        replace(node, results)
        return
    for reader in list(node.users):
        replace(reader, results[reader.args[1]])
    node.graph.erase_node(node)
