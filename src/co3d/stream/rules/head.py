"""Classifier heads: linear layers and reductions over classes or space."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from co3d.stream.rules.registry import Context, Lowering, UnsupportedError, arguments, rule
from co3d.stream.rules.shape import drop_axis, lower_framewise

_ATEN = torch.ops.aten


@rule(_ATEN.linear.default)
def lower_linear(ctx: Context, node: fx.Node) -> Lowering:
    """A linear layer over the last axis of one frame."""
    args = arguments(node)
    x = args["input"]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    if type_in.axis == rank - 1:
        raise UnsupportedError("it mixes the frames of the clip", "pool over time before it")
    weight, bias = ctx.tensor(args["weight"]), ctx.tensor(args["bias"])
    assert weight is not None
    lowering = lower_framewise(
        node,
        ctx,
        type_in.axis,
        lambda b, x: b.call(
            F.linear, x, b.constant(weight), None if bias is None else b.constant(bias)
        ),
    )
    outputs = ctx.elements_without(ctx.shape(node), type_in.axis)
    return Lowering(lowering.type, lowering.uses, lowering.emit, weight.shape[1] * outputs)


@rule(_ATEN.softmax.int, _ATEN._softmax.default, _ATEN.log_softmax.int, _ATEN._log_softmax.default)
def lower_softmax(ctx: Context, node: fx.Node) -> Lowering:
    """A softmax over classes or space."""
    x: Any = node.args[0]
    target: Any = torch.softmax if "log" not in str(node.target) else torch.log_softmax
    dim = _step_dim(ctx, x, int(node.args[1]))  # type: ignore[arg-type]
    return lower_framewise(node, ctx, ctx.type_of(x).axis, lambda b, x: b.call(target, x, dim))


@rule(_ATEN.logsumexp.default, _ATEN.sum.dim_IntList, _ATEN.amax.default)
def lower_reduction(ctx: Context, node: fx.Node) -> Lowering:
    """A reduction over channels, classes or space; over a collapsed time axis it does nothing."""
    args = arguments(node)
    x, keepdim = args["self"], args["keepdim"]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    axis = type_in.axis
    dims = sorted(d % rank for d in args["dim"])
    if 0 in dims or (axis in dims and not type_in.is_pooled):
        raise UnsupportedError(
            "it reduces over " + ("the batch" if 0 in dims else "time"), "use a mean over time"
        )
    step_dims = [drop_axis(d, axis) for d in dims if d != axis]
    axis_out = axis
    if axis is not None and not keepdim:
        axis_out = None if axis in dims else axis - sum(d < axis for d in dims)
    return lower_framewise(
        node,
        ctx,
        axis_out,
        lambda b, x: b.call(node.target, x, step_dims, keepdim) if step_dims else x,  # type: ignore[arg-type]
    )


def _step_dim(ctx: Context, x: fx.Node, dim: int) -> int:
    axis, rank = ctx.type_of(x).axis, len(ctx.shape(x))
    if dim % rank in (0, axis):
        raise UnsupportedError(
            "it normalises over " + ("the batch" if dim % rank == 0 else "time"),
            "normalise over classes or space",
        )
    return drop_axis(dim % rank, axis)
