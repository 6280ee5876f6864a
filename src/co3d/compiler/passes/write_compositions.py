"""Decompose operators without a rule into operators that have one."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
Writer = Callable[[fx.GraphModule, fx.Node], fx.Node | None]


def write_compositions(clip_graph: fx.GraphModule) -> PassResult:
    """Decompose each such operator whose arguments its decomposition supports."""
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.target in _WRITERS:
            with clip_graph.graph.inserting_before(node):
                made = _WRITERS[node.target](clip_graph, node)
            if made is not None:
                replace(node, made)
                changed = True
    return PassResult(changed)


def _write_squeeze(_: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write a squeeze without axes as one of all axes of size 1 but the batch."""
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    dims = [d for d, size in enumerate(shape) if size == 1]
    return insert(node, _ATEN.squeeze.dims, (node.args[0], dims))


def _write_adaptive(_: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write an adaptive pool to one element as a mean, which may be over time."""
    if any(size != 1 for size in tree_leaves(node.args[1])):
        return None
    return insert(node, _ATEN.mean.dim, (node.args[0], [-1], True))


def _write_product(clip_graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """A product with a constant matrix is a linear layer."""
    args = arguments(node)
    x: Any = args.get("mat1", args["self"])
    matrix: Any = args["mat2"] if "mat2" in args else args["other"]
    bias = args["self"] if "mat1" in args else None
    plain = args.get("beta", 1) == args.get("alpha", 1) == 1
    if matrix.op != "get_attr" or len(matrix.meta["val"].shape) != 2 or not plain:
        return None
    if bias is not None and (bias.op != "get_attr" or len(bias.meta["val"].shape) != 1):
        return None
    turned = clip_graph.get_buffer(str(matrix.target)).t().contiguous()
    weight = insert_constant(clip_graph, node, f"{node.name}_weight", turned)
    return insert(node, _ATEN.linear.default, (x, weight, bias))


def _write_similarity(_: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Cosine similarity: the product of two values, each divided by its norm, at least eps."""
    args = arguments(node)
    dim = [args["dim"]]

    def scale(value: fx.Node) -> fx.Node:
        length = insert(node, _ATEN.linalg_vector_norm.default, (value, 2.0, dim, True))
        bounded = insert(node, _ATEN.clamp_min.default, (length, args["eps"]))
        return insert(node, _ATEN.div.Tensor, (value, bounded))

    product = insert(node, _ATEN.mul.Tensor, (scale(args["x1"]), scale(args["x2"])))
    return insert(node, _ATEN.sum.dim_IntList, (product, dim))


def _write_instance_norm(_: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Write an instance norm with running statistics as the batch norm that it is."""
    args = arguments(node)
    if args["use_input_stats"]:
        return None
    names = "input", "weight", "bias", "running_mean", "running_var"
    given = *(args[name] for name in names), args["momentum"], args["eps"]
    normalised = insert(node, _ATEN._native_batch_norm_legit_no_training.default, given)
    return insert(node, operator.getitem, (normalised, 0))


_WRITERS: dict[Any, Writer] = {
    _ATEN.cosine_similarity.default: _write_similarity,
    _ATEN.instance_norm.default: _write_instance_norm,
    _ATEN.squeeze.default: _write_squeeze,
    _ATEN.adaptive_avg_pool1d.default: _write_adaptive,
    _ATEN.mm.default: _write_product,
    _ATEN.addmm.default: _write_product,
    _ATEN.matmul.default: _write_product,
}
