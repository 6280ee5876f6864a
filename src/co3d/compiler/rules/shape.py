"""Operators that move or join axes: the same without the time axis."""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from co3d.compiler.rules.pointwise import join_operands
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    rule,
)

_ATEN = torch.ops.aten


def lower_framewise(
    node: fx.Node,
    ctx: Context,
    axis_out: int | None,
    emit: Callable[[Builder, fx.Node], fx.Node],
    *,
    pool: str | None = None,
) -> Lowering:
    """A lowering that reads its first argument's newest frame and moves time to `axis_out`.

    With `pool` it picks the clip's last element, and so is a global pool of window 1.
    """
    x: Any = node.args[0]
    type_in = ctx.type_of(x)
    type_out = type_in.at_axis(axis_out) if pool is None else type_in.collapse(axis_out, 0, pool)
    return Lowering(type_out, [Use(x)], lambda builder, frames: emit(builder, frames[0]))


def require_batch(holds: bool) -> None:
    """UnsupportedError unless the batch is left alone."""
    if not holds:
        raise UnsupportedError(
            "it moves, cuts or folds the batch axis",
            "treat all streams of a batch alike, and keep the batch first and apart from axes "
            "other than time",
        )


@rule(operator.getitem)
def lower_getitem(ctx: Context, node: fx.Node) -> Lowering:
    """One of the results of an operator that has several."""
    x: Any = node.args[0]
    index = node.args[1]
    axis = ctx.type_of(x).axis
    return lower_framewise(node, ctx, axis, lambda b, x: b.call(operator.getitem, x, index))


@rule(_ATEN.permute.default, _ATEN.transpose.int)
def lower_permute(ctx: Context, node: fx.Node) -> Lowering:
    """Permute what remains."""
    args = arguments(node)
    type_in = ctx.type_of(args["self"])
    axis, rank = type_in.axis, len(ctx.shape(args["self"]))
    if node.target is _ATEN.transpose.int:
        dims = list(range(rank))
        first, second = args["dim0"] % rank, args["dim1"] % rank
        dims[first], dims[second] = second, first
    else:
        dims = [d % rank for d in args["dims"]]
    require_batch(dims[0] == 0)
    order = [type_in.drop_axis(d) for d in dims if d == 0 or d != axis]
    axis_out = None if axis is None else dims.index(axis)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.permute, x, order))


@rule(_ATEN.reshape.default)
def lower_reshape(ctx: Context, node: fx.Node) -> Lowering:
    """Reshape what remains; time must come through whole, or in the batch, or be collapsed."""
    x: Any = node.args[0]
    before, after = ctx.shape(x), ctx.shape(node)
    type_in = ctx.type_of(x)
    axis, pool = type_in.axis, None
    clear_before, clear_after = before, after
    if axis is not None and before[axis] == (1 if axis else ctx.batch):
        # One element of time looks like any axis of one, and folded like none; several stand out.
        clear_before, clear_after = node.meta.get("longer", (before, after))
    axis_out = _follow_axis(clear_before, clear_after, axis, ctx.batch)
    if type_in.is_pooled and len(after) == 2:
        axis_out = None  # What stays of a network with one channel is the channel, not time.
    if axis_out is None and axis is not None and not type_in.is_pooled:
        if before[axis] > 1:
            raise UnsupportedError(
                f"it merges or splits the time axis: {before} becomes {after}, time was axis "
                f"{axis}",
                "pool over time before it",
            )
        pool = node.name
    require_batch(before[0] == after[0] or axis == 0 or axis_out == 0)
    sizes = [s for d, s in enumerate(after) if d not in (0, axis_out)]
    return lower_framewise(
        node, ctx, axis_out, lambda b, x: b.call(torch.reshape, x, (-1, *sizes)), pool=pool
    )


@rule(_ATEN.expand.default)
def lower_expand(ctx: Context, node: fx.Node) -> Lowering:
    """Repeat axes of size one, or add axes in front of all but the batch."""
    args = arguments(node)
    before, after = ctx.shape(args["self"]), ctx.shape(node)
    type_in = ctx.type_of(args["self"])
    require_batch(len(before) == len(after) and before[0] == after[0])
    axis = type_in.axis
    if axis and before[axis] != after[axis]:
        # Of a pooled value: it meets frames, and broadcasting does what the expansion did.
        if not type_in.is_pooled:
            raise UnsupportedError("it repeats a frame along time", "pool over time before it")
        ctx.gates.update(type_in.pools)
    sizes = [s for d, s in enumerate(after) if d not in (0, axis)]
    return lower_framewise(node, ctx, axis, lambda b, x: b.call(_ATEN.expand, x, [-1, *sizes]))


@rule(_ATEN.repeat.default)
def lower_repeat(ctx: Context, node: fx.Node) -> Lowering:
    """Tile axes other than batch and time."""
    args = arguments(node)
    x, repeats = args["self"], list(args["repeats"])
    type_in = ctx.type_of(x)
    require_batch(len(repeats) == len(ctx.shape(x)) and repeats[0] == 1)
    if type_in.axis and repeats[type_in.axis] > 1:
        raise UnsupportedError("it repeats the frames of the clip", "pool over time before it")
    kept = [n for d, n in enumerate(repeats) if d == 0 or d != type_in.axis]
    return lower_framewise(node, ctx, type_in.axis, lambda b, x: b.call(_ATEN.repeat, x, kept))


@rule(_ATEN.unsqueeze.default)
def lower_unsqueeze(ctx: Context, node: fx.Node) -> Lowering:
    """Insert an axis."""
    args = arguments(node)
    axis = ctx.type_of(args["self"]).axis
    dim = args["dim"] % len(ctx.shape(node))
    require_batch(dim != 0)
    axis_out = axis if not axis else axis + (dim <= axis)
    step_dim = dim - bool(axis_out and dim > axis_out)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.unsqueeze, x, step_dim))


@rule(_ATEN.squeeze.dim, _ATEN.squeeze.dims)
def lower_squeeze(ctx: Context, node: fx.Node) -> Lowering:
    """Remove axes of size one; of time too, where a clip has but one element."""
    args = arguments(node)
    x = args["self"]
    shape, type_in = ctx.shape(x), ctx.type_of(x)
    wanted = args["dim"] if isinstance(args["dim"], (list, tuple)) else [args["dim"]]
    dims = sorted(d % len(shape) for d in wanted if shape[d] == 1)
    axis = type_in.axis
    step_dims = [type_in.drop_axis(d) for d in dims if d != axis]
    axis_out = None
    if axis is not None and axis not in dims:
        axis_out = axis and axis - sum(d < axis for d in dims)
    pool = node.name if axis in dims and not type_in.is_pooled else None
    return lower_framewise(
        node, ctx, axis_out, lambda b, x: b.call(torch.squeeze, x, step_dims), pool=pool
    )


@rule(_ATEN.cat.default)
def lower_cat(ctx: Context, node: fx.Node) -> Lowering:
    """Concatenate along channels or space; operands of unequal delay wait in delay lines."""
    args = arguments(node)
    operands, rank = list(args["tensors"]), len(ctx.shape(node))
    if not all(ctx.is_temporal(operand) for operand in operands):
        raise UnsupportedError("it concatenates a constant", "add the constant instead")
    type_out, uses = join_operands(ctx, operands, rank)
    dim = args["dim"] % rank
    require_batch(dim != 0)
    if dim == type_out.axis:
        raise UnsupportedError("it concatenates along time", "concatenate channels")
    step_dim = type_out.drop_axis(dim)
    return Lowering(
        type_out, uses, lambda builder, frames: builder.call(torch.cat, frames, step_dim)
    )


def _follow_axis(
    before: tuple[int, ...], after: tuple[int, ...], axis: int | None, batch: int
) -> int | None:
    """Where the time axis stands in the new shape; None where it is merged, split or gone.

    It keeps its size and has as many elements before it; or it folds into the batch, or out of it.
    """
    if axis is None:
        return None
    frames = before[0] // batch if axis == 0 else before[axis]
    leading = batch if axis == 0 else math.prod(before[:axis])
    if leading == batch and after[0] == batch * frames and frames > 1:
        return 0
    count = 1
    for position, size in enumerate(after):
        if position and count == leading and size == frames:
            return position
        count *= size
    return None
