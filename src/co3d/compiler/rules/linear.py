"""Linear layers, products of matrices and softmax, within each frame."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.compiler.macs import count_macs
from co3d.compiler.rules.clip_mixing import lower_clip_mixing
from co3d.compiler.rules.pointwise import join_operands
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    map_arguments,
    merged_time_error,
    rule,
)
from co3d.compiler.rules.shape import lower_framewise

_ATEN = torch.ops.aten


@rule(_ATEN.linear.default, fold_aware=True)
def lower_linear(ctx: Context, node: fx.Node) -> Lowering:
    """A linear layer over the last axis of one frame."""
    args = arguments(node)
    x = args["input"]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    weight, bias = ctx.tensor(args["weight"]), ctx.tensor(args["bias"])
    assert weight is not None
    if type_in.axis == rank - 1:
        if type_in.is_pooled:
            raise UnsupportedError(
                "it multiplies the one element that a pool over time has left as if it were "
                "channels",
                "remove the time axis before it: squeeze or flatten",
            )

        def apply(builder: Builder, features: fx.Node, own: Tensor) -> fx.Node:
            shift = None if bias is None else builder.constant(bias)
            return builder.call(F.linear, features, builder.constant(own), shift)

        macs = count_macs(node) // ctx.batch
        return lower_clip_mixing(ctx, node, x, weight, apply, macs)
    lowering = lower_framewise(
        node,
        ctx,
        type_in.axis,
        lambda b, x: b.call(
            F.linear, x, b.constant(weight), None if bias is None else b.constant(bias)
        ),
    )
    macs = weight.shape[1] * ctx.frame_elements(lowering.type, ctx.shape(node))
    return Lowering(lowering.type, lowering.uses, lowering.emit, macs)


@rule(
    _ATEN.softmax.int,
    _ATEN._softmax.default,
    _ATEN.log_softmax.int,
    _ATEN._log_softmax.default,
    fold_aware=True,
)
def lower_softmax(ctx: Context, node: fx.Node) -> Lowering:
    """A softmax over classes or space."""
    x: Any = node.args[0]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    target: Any = torch.softmax if "log" not in str(node.target) else torch.log_softmax
    dim = int(node.args[1]) % rank  # type: ignore[arg-type]
    if type_in.is_merged and dim == type_in.axis:
        raise merged_time_error()
    if dim in (0, type_in.axis):
        raise UnsupportedError(
            "it normalises over " + ("time" if dim else "the batch"),
            "normalise over classes or space",
        )
    step_dim = type_in.drop_axis(dim)
    return lower_framewise(node, ctx, type_in.axis, lambda b, x: b.call(target, x, step_dim))


@rule(
    _ATEN.matmul.default,
    _ATEN.bmm.default,
    _ATEN.scaled_dot_product_attention.default,
    fold_aware=True,
)
def lower_matmul(ctx: Context, node: fx.Node) -> Lowering:
    """A matrix product or attention within each frame: time is none of the matrix axes."""
    rank = len(ctx.shape(node))
    operands = [n for n in node.all_input_nodes if ctx.is_temporal(n)]
    ranks = [len(ctx.shape(operand)) for operand in operands]
    places = [(ctx.type_of(n).axis or 0) - r for n, r in zip(operands, ranks, strict=True)]
    if rank < 3 or min(ranks) < rank or max(places) >= -2:
        raise UnsupportedError(
            "it multiplies the frames of a clip with each other",
            'attend within each frame, or convert with scope="window", so that each frame attends '
            "to the newest ones (an approximation)",
        )
    type_out, uses = join_operands(ctx, operands, rank)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        values = dict(zip(operands, frames, strict=True))
        args, kwargs = map_arguments(ctx, builder, node, values)
        return builder.call(node.target, *args, **kwargs)  # type: ignore[arg-type]

    elements = ctx.batch * type_out.count_elements(ctx.shape(node), ctx.batch)
    if any(len(ctx.shape(n)) > 2 for n in node.all_input_nodes if not ctx.is_temporal(n)):
        raise UnsupportedError("one of its factors is a constant per frame", "use a linear layer")
    return Lowering(type_out, uses, emit, count_macs(node) // elements)
