"""Fold batch norms into the convolutions before them, or write them as scale and shift."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.insertion import insert, insert_constant, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.conv import CONVOLUTIONS
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.transposed import TRANSPOSED

_ATEN = torch.ops.aten
_BATCH_NORM = _ATEN._native_batch_norm_legit_no_training.default


def fold_batch_norm(clip_graph: fx.GraphModule) -> PassResult:
    """In evaluation a batch norm is y = x·scale + shift per channel: fold it, or write that.

    The scale is computed in double precision, so that only the new weights are rounded.
    """
    graph, changed = clip_graph.graph, False
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not _BATCH_NORM:
            continue
        (result,) = [u for u in node.users if u.target is operator.getitem and u.args[1] == 0]
        x = node.args[0]
        scale, shift = _scale_and_shift(clip_graph, node)
        if (
            x.target in (*CONVOLUTIONS, *TRANSPOSED)
            and len(x.users) == 1
            and x.args[1].op == "get_attr"
        ):
            _fold(clip_graph, x, scale, shift)
            replace(result, x)
        else:
            with graph.inserting_before(result):
                replace(result, _write_scale_and_shift(clip_graph, node, scale, shift))
        graph.erase_node(node)
        changed = True
    return PassResult(changed)


def _scale_and_shift(clip_graph: fx.GraphModule, node: Any) -> tuple[Tensor, Tensor]:
    weight, bias, mean, var = [
        None if a is None else clip_graph.get_buffer(a.target).double() for a in node.args[1:5]
    ]
    assert mean is not None
    assert var is not None
    scale = torch.rsqrt(var + float(node.args[6]))
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return scale, shift


def _fold(clip_graph: fx.GraphModule, conv: Any, scale: Tensor, shift: Tensor) -> None:
    weight = clip_graph.get_buffer(conv.args[1].target)
    bias_node = conv.args[2] if len(conv.args) > 2 else conv.kwargs.get("bias")
    if bias_node is not None:
        shift = shift + clip_graph.get_buffer(bias_node.target).double() * scale
    factor = scale.view(-1, *[1] * (weight.dim() - 1))
    if conv.target in TRANSPOSED:  # (C_in, C_out / groups, …), group by group
        groups = arguments(conv)["groups"]
        per_group = factor.unflatten(0, (groups, 1, -1)).squeeze(3)
        folded = (weight.double().unflatten(0, (groups, -1)) * per_group).flatten(0, 1)
    else:
        folded = weight.double() * factor
    with clip_graph.graph.inserting_before(conv):
        new_weight = insert_constant(
            clip_graph, conv, f"{conv.name}_weight", folded.to(weight.dtype)
        )
        new_bias = insert_constant(clip_graph, conv, f"{conv.name}_bias", shift.to(weight.dtype))
    conv.args = (conv.args[0], new_weight, new_bias, *conv.args[3:])


def _write_scale_and_shift(
    clip_graph: fx.GraphModule, node: Any, scale: Tensor, shift: Tensor
) -> fx.Node:
    x = node.args[0]
    value = x.meta["val"]
    view = (-1,) + (1,) * (value.dim() - 2)
    factor = insert_constant(
        clip_graph, node, f"{node.name}_scale", scale.view(view).to(value.dtype)
    )
    scaled = insert(node, _ATEN.mul.Tensor, (x, factor))
    term = insert_constant(clip_graph, node, f"{node.name}_shift", shift.view(view).to(value.dtype))
    return insert(node, _ATEN.add.Tensor, (scaled, term))
