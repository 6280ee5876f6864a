"""Write operators that are compositions of others, and have no rule of their own, as these."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
# Those that torch itself writes with others: by way of its table, or whenever they are run.
_BY_TORCH: set[Any] = {
    _ATEN.column_stack.default,
    _ATEN.cosine_similarity.default,
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
    _ATEN.std_mean.correction,
    _ATEN.std_mean.dim,
    _ATEN.take_along_dim.default,
    _ATEN.tile.default,
    _ATEN.var_mean.correction,
    _ATEN.var_mean.dim,
    _ATEN.vstack.default,
}
_TABLE = get_decompositions([_ATEN.norm.Scalar, _ATEN.norm.ScalarOpt_dim, _ATEN.std_mean.correction])


def decompose(clip_graph: fx.GraphModule) -> PassResult:
    """Replace each such operator, where the way to write it fits its arguments."""
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.op != "call_function":
            continue
        with clip_graph.graph.inserting_before(node):
            if node.target in _BY_TORCH:
                changed |= _write_by_torch(clip_graph, node)
            elif node.target in _WRITERS:
                made = _WRITERS[node.target](clip_graph, node)
                if made is not None:
                    replace(node, made)
                    changed = True
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
    """Replace a node by what gives its result, or its readers by what gives theirs."""
    if isinstance(results, fx.Node):
        replace(node, results)
        return
    for reader in list(node.users):
        replace(reader, results[reader.args[1]])
    node.graph.erase_node(node)


def _write_squeeze(_: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Without axes it means all of one element; the batch of a stream is none of them."""
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    dims = [d for d, size in enumerate(shape) if size == 1]
    return insert(node, _ATEN.squeeze.dims, (node.args[0], dims))


def _write_adaptive(_: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """To one element it is a mean, whose axis may be time."""
    if any(size != 1 for size in tree_leaves(node.args[1])):
        return None
    return insert(node, _ATEN.mean.dim, (node.args[0], [-1], True))


def _write_product(clip_graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """A product with a constant matrix is a linear layer."""
    args = arguments(node)
    x, matrix = args.get("mat1", args["self"]), args.get("mat2", args.get("other"))
    bias = args["self"] if "mat1" in args else None
    plain = args.get("beta", 1) == args.get("alpha", 1) == 1
    if matrix.op != "get_attr" or len(matrix.meta["val"].shape) != 2 or not plain:
        return None
    if bias is not None and (bias.op != "get_attr" or len(bias.meta["val"].shape) != 1):
        return None
    turned = clip_graph.get_buffer(str(matrix.target)).t().contiguous()
    weight = insert_constant(clip_graph, node, f"{node.name}_weight", turned)
    return insert(node, _ATEN.linear.default, (x, weight, bias))


_WRITERS: dict[Any, Callable[[fx.GraphModule, fx.Node], fx.Node | None]] = {
    _ATEN.squeeze.default: _write_squeeze,
    _ATEN.adaptive_avg_pool1d.default: _write_adaptive,
    _ATEN.mm.default: _write_product,
    _ATEN.addmm.default: _write_product,
    _ATEN.matmul.default: _write_product,
}
