"""Fallback: keep the elements of a whole clip and rerun the clip network's operators on them."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.macs import count_macs
from co3d.compiler.rules.global_pool import window_uses
from co3d.compiler.rules.layout import emit_clip
from co3d.compiler.rules.pointwise import join_operands
from co3d.compiler.rules.registry import Builder, Context, Lowering, rule


def collect_clip(value: Tensor) -> Tensor:
    """Identity that marks in a clip graph where the step program collects a whole clip."""
    return value


def give_beside(value: Tensor, clip: Tensor) -> Tensor:
    """The first value, with the timing of the clip: an output that does not depend on the clip."""
    del clip
    return value


@rule(collect_clip, fold_aware=True)
def lower_collect(ctx: Context, node: fx.Node) -> Lowering:
    """The newest elements, as many as the clip has, joined along the time axis.

    The window must be as long as the clip that the network was exported for, since operators that
    follow may have weights of that length.
    """
    x: Any = node.args[0]
    type_in, shape = ctx.type_of(x), ctx.shape(x)
    axis = type_in.axis
    if type_in.is_pooled:
        type_out = replace(type_in.laid_out(None, 1, 1, 1), recomputed=True)
        uses = window_uses(x, type_in, 1, 0.0)
        return Lowering(
            type_out,
            uses,
            lambda b, f: f[0] if axis is None else b.call(torch.unsqueeze, f[0], axis),
        )
    assert axis is not None
    window = type_in.count_elements(shape, ctx.batch)
    ctx.fix_window(node, window)
    reach = (window - 1) * type_in.stride
    type_out = replace(
        type_in.laid_out(None, 1, 1, 1),
        lookback=type_in.lookback + reach,
        pools=(node.name,),
        recomputed=True,
    )

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        return emit_clip(builder, frames, type_in, shape)

    return Lowering(type_out, window_uses(x, type_in, window, 0.0), emit)


def lower_recomputed(ctx: Context, node: fx.Node) -> Lowering:
    """Any operator of the clip network, on whole clips."""
    operands = [n for n in node.all_input_nodes if ctx.is_temporal(n)]
    type_out, uses = join_operands(ctx, operands, 0)
    type_out = type_out.at_axis(None)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        values = dict(zip(operands, frames, strict=True))
        if node.target is give_beside:
            given: Any = node.args[0]
            return values[given] if given in values else _emit_size(ctx, builder, given)

        def find(argument: fx.Node) -> fx.Node:
            return values[argument] if argument in values else _emit_size(ctx, builder, argument)

        args, kwargs = fx.map_arg((node.args, node.kwargs), find)  # type: ignore[arg-type]
        return builder.call(node.target, *args, **kwargs)  # type: ignore[arg-type, misc]

    return Lowering(type_out, uses, emit, count_macs(node) // ctx.batch)


def _emit_size(ctx: Context, builder: Builder, node: fx.Node) -> Any:
    """Emit a constant, or a value that depends on nothing but the batch size."""
    if node.op == "get_attr":
        tensor = ctx.tensor(node)
        assert tensor is not None
        return builder.constant(tensor)
    if node.target is torch.ops.aten.sym_size.int:
        return builder.batch_size()
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: _emit_size(ctx, builder, n))
    return builder.call(node.target, *args, **kwargs)  # type: ignore[arg-type, misc]
