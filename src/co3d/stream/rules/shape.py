"""Operators that move or join axes: the same without the time axis."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from co3d.stream.rules.pointwise import join_operands
from co3d.stream.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    rule,
)

_ATEN = torch.ops.aten


def drop_axis(dim: int, axis: int | None) -> int:
    """A clip dimension's number after the time axis is gone."""
    return dim - (axis is not None and dim > axis)


def lower_framewise(
    node: fx.Node, ctx: Context, axis_out: int | None, emit: Callable[[Builder, fx.Node], fx.Node]
) -> Lowering:
    """A lowering that reads its first argument's newest frame and moves time to `axis_out`."""
    x: Any = node.args[0]
    return Lowering(
        ctx.type_of(x).at_axis(axis_out), [Use(x)], lambda builder, frames: emit(builder, frames[0])
    )


@rule(_ATEN.permute.default, _ATEN.transpose.int)
def lower_permute(ctx: Context, node: fx.Node) -> Lowering:
    """Permute what remains."""
    args = arguments(node)
    axis = ctx.type_of(args["self"]).axis
    rank = len(ctx.shape(args["self"]))
    if node.target is _ATEN.transpose.int:
        dims = list(range(rank))
        first, second = args["dim0"] % rank, args["dim1"] % rank
        dims[first], dims[second] = second, first
    else:
        dims = [d % rank for d in args["dims"]]
    _require_batch(dims[0] == 0)
    order = [drop_axis(d, axis) for d in dims if d != axis]
    axis_out = None if axis is None else dims.index(axis)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.permute, x, order))


@rule(_ATEN.view.default, _ATEN._unsafe_view.default, _ATEN.reshape.default)
def lower_view(ctx: Context, node: fx.Node) -> Lowering:
    """Reshape what remains; time must come through whole, or be collapsed."""
    x: Any = node.args[0]
    before, after = ctx.shape(x), ctx.shape(node)
    type_in = ctx.type_of(x)
    _require_batch(before[0] == after[0])
    axis_out = _follow_axis(before, after, type_in.axis)
    if axis_out is None and type_in.axis is not None and not type_in.is_pooled:
        raise UnsupportedError(
            f"it merges or splits the time axis: {before} becomes {after}, time was axis "
            f"{type_in.axis}",
            "pool over time before it",
        )
    sizes = [s for d, s in enumerate(after) if d not in (0, axis_out)]
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.reshape, x, (-1, *sizes)))


@rule(_ATEN.unsqueeze.default)
def lower_unsqueeze(ctx: Context, node: fx.Node) -> Lowering:
    """Insert an axis."""
    args = arguments(node)
    axis = ctx.type_of(args["self"]).axis
    dim = args["dim"] % len(ctx.shape(node))
    _require_batch(dim != 0)
    axis_out = None if axis is None else axis + (dim <= axis)
    step_dim = drop_axis(dim, axis_out)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.unsqueeze, x, step_dim))


@rule(_ATEN.squeeze.dim, _ATEN.squeeze.dims)
def lower_squeeze(ctx: Context, node: fx.Node) -> Lowering:
    """Remove axes of size one; a collapsed time axis is gone already."""
    args = arguments(node)
    x = args["self"]
    shape, type_in = ctx.shape(x), ctx.type_of(x)
    wanted = args["dim"] if isinstance(args["dim"], (list, tuple)) else [args["dim"]]
    dims = sorted(d % len(shape) for d in wanted if shape[d] == 1)
    axis = type_in.axis
    if axis in dims and not type_in.is_pooled:
        raise UnsupportedError("it removes the time axis of a one-frame value", "pool over time")
    step_dims = [drop_axis(d, axis) for d in dims if d != axis]
    axis_out = None
    if axis is not None and axis not in dims:
        axis_out = axis - sum(d < axis for d in dims)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.squeeze, x, step_dims))


@rule(_ATEN.cat.default)
def lower_cat(ctx: Context, node: fx.Node) -> Lowering:
    """Concatenate along channels or space; operands of unequal delay wait in delay lines."""
    args = arguments(node)
    operands, rank = list(args["tensors"]), len(ctx.shape(node))
    if not all(ctx.is_temporal(operand) for operand in operands):
        raise UnsupportedError("it concatenates a constant", "add the constant instead")
    type_out, uses = join_operands(ctx, operands, rank)
    dim = args["dim"] % rank
    if dim in (0, type_out.axis):
        raise UnsupportedError(
            "it concatenates along " + ("the batch" if dim == 0 else "time"),
            "concatenate channels",
        )
    step_dim = drop_axis(dim, type_out.axis)
    return Lowering(
        type_out, uses, lambda builder, frames: builder.call(torch.cat, frames, step_dim)
    )


def _follow_axis(before: tuple[int, ...], after: tuple[int, ...], axis: int | None) -> int | None:
    """Where the axis stands in the new shape: same size, as many elements before it."""
    if axis is None:
        return None
    leading = 1
    for size in before[:axis]:
        leading *= size
    count = 1
    for position, size in enumerate(after):
        if position and count == leading and size == before[axis]:
            return position
        count *= size
    return None


def _require_batch(holds: bool) -> None:
    if not holds:
        raise UnsupportedError(
            "it moves or folds the batch axis", "keep the batch first and apart from other axes"
        )
