"""Operators on a batch of pictures, which act on each frame alone."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.compiler.macs import count_macs
from co3d.compiler.rules.conv import CONVOLUTIONS
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

# Operators that act on each row of the batch alone. With frames folded into the batch, the step
# runs the same operator on the batch of streams.
FOLDED_OPERATORS = {
    *CONVOLUTIONS,
    _ATEN.conv_transpose1d.default,
    _ATEN.conv_transpose2d.input,
    _ATEN.conv_transpose3d.input,
    _ATEN.max_pool1d.default,
    _ATEN.max_pool2d.default,
    _ATEN.max_pool3d.default,
    _ATEN.max_pool2d_with_indices.default,
    _ATEN.max_pool3d_with_indices.default,
    _ATEN.avg_pool1d.default,
    _ATEN.avg_pool2d.default,
    _ATEN.avg_pool3d.default,
    _ATEN.adaptive_avg_pool1d.default,
    _ATEN.adaptive_avg_pool2d.default,
    _ATEN.adaptive_avg_pool3d.default,
    _ATEN._adaptive_avg_pool2d.default,
    _ATEN._adaptive_avg_pool3d.default,
    _ATEN.adaptive_max_pool2d.default,
    _ATEN.adaptive_max_pool3d.default,
    _ATEN.upsample_nearest2d.vec,
    _ATEN.upsample_nearest2d.default,
    _ATEN.upsample_bilinear2d.vec,
    _ATEN.upsample_bilinear2d.default,
    _ATEN.upsample_bicubic2d.vec,
    _ATEN.pixel_shuffle.default,
    _ATEN.pixel_unshuffle.default,
    _ATEN.channel_shuffle.default,
    _ATEN.native_channel_shuffle.default,
    _ATEN.group_norm.default,
    _ATEN.native_group_norm.default,
    _ATEN.instance_norm.default,
    _ATEN.glu.default,
    _ATEN.prelu.default,
    _ATEN._prelu_kernel.default,
    _ATEN.reflection_pad2d.default,
    _ATEN.replication_pad2d.default,
    _ATEN.bmm.default,
    _ATEN.adaptive_max_pool1d.default,
    _ATEN.affine_grid_generator.default,
    _ATEN.col2im.default,
    _ATEN.grid_sampler.default,
    _ATEN.grid_sampler_2d.default,
    _ATEN.im2col.default,
    _ATEN.max_unpool2d.default,
    _ATEN.max_unpool3d.default,
    _ATEN.reflection_pad1d.default,
    _ATEN.replication_pad1d.default,
    _ATEN.upsample_linear1d.vec,
    _ATEN.upsample_nearest1d.vec,
}
# Those of them that need as many rows in every operand.
_MATCHING_ROWS = {
    _ATEN.bmm.default,
    _ATEN.grid_sampler.default,
    _ATEN.grid_sampler_2d.default,
    _ATEN.max_unpool2d.default,
    _ATEN.max_unpool3d.default,
}


def lower_folded(ctx: Context, node: fx.Node) -> Lowering:
    """An operator of `FOLDED_OPERATORS` on frames that are folded into the batch."""
    operands = [n for n in node.all_input_nodes if ctx.is_temporal(n)]
    shape = ctx.shape(operands[0])
    type_out, uses = join_operands(ctx, operands, len(shape))
    fixed = [n for n in node.all_input_nodes if n not in operands]
    rows = {n: _one_row(ctx, n) for n in fixed if node.target in _MATCHING_ROWS}

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        values = dict(zip(operands, frames, strict=True))
        for constant, row in rows.items():
            sizes = [builder.call(_ATEN.sym_size.int, frames[0], 0), *row.shape[1:]]
            values[constant] = builder.call(_ATEN.expand.default, builder.constant(row), sizes)
        args, kwargs = map_arguments(ctx, builder, node, values)
        return builder.call(node.target, *args, **kwargs)  # type: ignore[arg-type]

    elements = ctx.batch * type_out.count_elements(shape, ctx.batch)
    return Lowering(type_out, uses, emit, count_macs(node) // elements)


def _one_row(ctx: Context, node: fx.Node) -> Tensor:
    """The first row of a constant with equal rows; UnsupportedError where they differ."""
    tensor = ctx.tensor(node)
    assert tensor is not None
    if not bool((tensor == tensor[:1]).all()):
        raise UnsupportedError(
            "one of its operands is a constant with another value for every frame",
            "use one value for all frames",
        )
    return tensor[:1]


@rule(
    _ATEN.layer_norm.default,
    _ATEN.native_layer_norm.default,
    _ATEN.rms_norm.default,
    fold_aware=True,
)
def lower_layer_norm(ctx: Context, node: fx.Node) -> Lowering:
    """A norm over the last axes of each frame."""
    args = arguments(node)
    type_in, rank = ctx.type_of(args["input"]), len(ctx.shape(args["input"]))
    axis, over = type_in.axis, len(args["normalized_shape"])
    if type_in.is_merged and axis is not None and axis >= rank - over:
        raise merged_time_error()
    if over >= rank or (axis is not None and axis >= rank - over):
        raise UnsupportedError(
            "it normalises over " + ("time" if over < rank else "the batch"),
            "normalise over channels or space",
        )

    def emit(builder: Builder, x: fx.Node) -> fx.Node:
        mapped, kwargs = map_arguments(ctx, builder, node, {args["input"]: x})
        return builder.call(node.target, *mapped, **kwargs)  # type: ignore[arg-type]

    return lower_framewise(node, ctx, axis, emit)


@rule(_ATEN.group_norm.default, _ATEN.instance_norm.default)
def lower_clip_norm(ctx: Context, node: fx.Node) -> Lowering:
    """A norm over a whole clip, noted in `ctx.norms` for the rewrite `slide_norms`."""
    x: Any = node.args[0]
    type_in = ctx.type_of(x)
    if type_in.is_pooled and node.target is _ATEN.group_norm.default:

        def emit(builder: Builder, x_step: fx.Node) -> fx.Node:
            mapped, kwargs = map_arguments(ctx, builder, node, {x: x_step})
            return builder.call(node.target, *mapped, **kwargs)  # type: ignore[arg-type]

        return lower_framewise(node, ctx, type_in.axis, emit)
    if type_in.axis != 2 or type_in.is_pooled:
        raise UnsupportedError(
            "it normalises over time, which is not at axis 2",
            "keep clips as (N, C, T, …), or fold frames into the batch",
        )
    for name in ("weight", "bias"):
        ctx.tensor(arguments(node)[name])  # raises for computed weights
    ctx.norms.add(node.name)
    return lower_framewise(node, ctx, type_in.axis, lambda _, x: x)


@rule(_ATEN.prelu.default, _ATEN._prelu_kernel.default, _ATEN.glu.default)
def lower_channelwise(ctx: Context, node: fx.Node) -> Lowering:
    """PReLU or GLU over channels."""
    x: Any = node.args[0]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    if node.target is _ATEN.glu.default:
        dim = arguments(node)["dim"] % rank
        if dim in (0, type_in.axis):
            raise UnsupportedError("it halves the batch or the clip", "halve the channels")
        step_dim = type_in.drop_axis(dim)
        return lower_framewise(node, ctx, type_in.axis, lambda b, x: b.call(F.glu, x, step_dim))
    weight: Any = node.args[1]
    slopes = ctx.tensor(weight)
    assert slopes is not None
    if type_in.axis == 1 and slopes.numel() > 1:
        raise UnsupportedError("it has one slope per frame", "keep channels at axis 1")
    return lower_framewise(
        node,
        ctx,
        type_in.axis,
        lambda b, x: b.call(F.prelu, x, b.constant(slopes.flatten())),
    )


@rule(
    _ATEN.pixel_shuffle.default,
    _ATEN.pixel_unshuffle.default,
    _ATEN.upsample_nearest2d.vec,
    _ATEN.upsample_bilinear2d.vec,
    _ATEN.upsample_bicubic2d.vec,
)
def lower_picture(ctx: Context, node: fx.Node) -> Lowering:
    """An operator on the last three axes, which must be those of a picture."""
    x: Any = node.args[0]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    if type_in.axis is None or type_in.axis >= rank - 3:
        raise UnsupportedError(
            "it mixes time with channels or space", "put time before the channels: (N, T, C, H, W)"
        )
    rest = node.args[1:]
    return lower_framewise(
        node,
        ctx,
        type_in.axis,
        lambda b, x: b.call(node.target, x, *rest, **node.kwargs),  # type: ignore[arg-type]
    )
