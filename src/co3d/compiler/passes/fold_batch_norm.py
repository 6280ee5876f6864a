"""Fold batch norm into the convolution before it; what cannot be folded becomes scale and shift."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.conv import CONVOLUTIONS

_ATEN = torch.ops.aten
_BATCH_NORM = _ATEN._native_batch_norm_legit_no_training.default


def fold_batch_norm(clip_graph: fx.GraphModule) -> None:
    """In evaluation a batch norm is y = x·scale + shift per channel; fold it or write it so.

    The scale is computed in double precision, so that folding costs no more than the rounding of
    the new weights.
    """
    graph = clip_graph.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not _BATCH_NORM:
            continue
        (result,) = [u for u in node.users if u.target is operator.getitem and u.args[1] == 0]
        x = node.args[0]
        scale, shift = _scale_and_shift(clip_graph, node)
        if x.target in CONVOLUTIONS and len(x.users) == 1 and x.args[1].op == "get_attr":
            _fold(clip_graph, x, scale, shift)
            result.replace_all_uses_with(x)
        else:
            view = (-1,) + (1,) * (len(x.meta["val"].shape) - 2)
            dtype = x.meta["val"].dtype
            with graph.inserting_before(result):
                scaled = _copy_meta(
                    graph.call_function(
                        _ATEN.mul.Tensor,
                        (
                            x,
                            _attribute(
                                clip_graph, f"{node.name}_scale", scale.view(view).to(dtype)
                            ),
                        ),
                    ),
                    result,
                )
                shifted = _copy_meta(
                    graph.call_function(
                        _ATEN.add.Tensor,
                        (
                            scaled,
                            _attribute(
                                clip_graph, f"{node.name}_shift", shift.view(view).to(dtype)
                            ),
                        ),
                    ),
                    result,
                )
            result.replace_all_uses_with(shifted)
        graph.erase_node(result)
        graph.erase_node(node)


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
    folded = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    with clip_graph.graph.inserting_before(conv):
        new_weight = _attribute(clip_graph, f"{conv.name}_weight", folded.to(weight.dtype))
        new_bias = _attribute(clip_graph, f"{conv.name}_bias", shift.to(weight.dtype))
    conv.args = (conv.args[0], new_weight, new_bias, *conv.args[3:])


def _attribute(clip_graph: fx.GraphModule, name: str, tensor: Tensor) -> fx.Node:
    clip_graph.register_buffer(name, tensor)
    return clip_graph.graph.get_attr(name)


def _copy_meta(node: fx.Node, source: fx.Node) -> fx.Node:
    node.meta = dict(source.meta)
    return node
