"""Operators that move or join axes: the same without the time axis."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from co3d.compiler.rules.interleave import repeat_frames
from co3d.compiler.rules.pointwise import join_operands
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    merged_time_error,
    rule,
)
from co3d.compiler.rules.windows import temporal_uses
from co3d.compiler.temporal import TemporalType

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class _Place:
    """The axis of time after a reshape.

    Attributes:
        axis: its index.
        outer, inner: sizes of the axes that are folded into it, before and after time.
        group_size: frames per group if the reshape splits time into groups, which this axis holds,
            and frames, which follow it; 1 if time is not split.
    """

    axis: int
    outer: int
    inner: int
    group_size: int


def lower_framewise(
    node: fx.Node,
    ctx: Context,
    axis_out: int | None,
    emit: Callable[[Builder, fx.Node], fx.Node],
    *,
    pool: str | None = None,
) -> Lowering:
    """A lowering that reads its first argument's newest frame and moves time to `axis_out`.

    With `pool` it selects the clip's last element, like a global pool with window 1.
    """
    x: Any = node.args[0]
    type_in = ctx.type_of(x)
    type_out = type_in.at_axis(axis_out) if pool is None else type_in.collapse(axis_out, 0, pool)
    return Lowering(type_out, [Use(x)], lambda builder, frames: emit(builder, frames[0]))


def require_batch(holds: bool) -> None:
    """Raise UnsupportedError if an operator changes the batch axis."""
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


@rule(_ATEN.permute.default, _ATEN.transpose.int, fold_aware=True)
def lower_permute(ctx: Context, node: fx.Node) -> Lowering:
    """Permute the axes of a frame, which are the clip's without time."""
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
    order = [type_in.drop_axis(d) for d in dims if d == 0 or d != axis or type_in.is_merged]
    axis_out = None if axis is None else dims.index(axis)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.permute, x, order))


@rule(_ATEN.reshape.default, fold_aware=True)
def lower_reshape(ctx: Context, node: fx.Node) -> Lowering:
    """Reshape a frame. Time may be merged with other axes, split off them, or split into groups."""
    x: Any = node.args[0]
    before, after = ctx.shape(x), ctx.shape(node)
    type_in, batch = ctx.type_of(x), ctx.batch
    require_batch(bool(after) and after[0] % batch == 0)
    axis = type_in.axis
    if axis is None or type_in.is_pooled:
        return _reshape_without_time(ctx, node)
    long_before, long_after = before, after
    if type_in.count_elements(before, batch) == 1:
        # With one element in time its axis cannot be told from others; longer clips show it.
        long_before, long_after = node.meta.get("longer", (before, after))
    place = _find_time(type_in, long_before, long_after, batch)
    has_one = type_in.count_elements(before, batch) == 1
    if place is None and not has_one:
        raise UnsupportedError(
            f"it cuts the time axis: {before} becomes {after}, time was axis {axis}",
            "keep the frames of a clip together, or pool over time before it",
        )
    if place is None or (has_one and place.group_size > 1):
        return _reshape_without_time(ctx, node)
    if place.group_size > 1:
        return _split_time(ctx, node, place)
    if _merges_into_time(type_in, place, before, after):
        # (N, C, [T], r, H, W) -> (N, C, H, W): r frames, one after the other
        return repeat_frames(
            ctx, x, place.inner, lambda b, x, variant: b.call(torch.select, x, 2, variant)
        )
    rows = after[0] // batch if place.axis else 1
    type_out = type_in.laid_out(place.axis, place.outer, place.inner, rows)
    sizes = type_out.row_shape(after)
    return Lowering(
        type_out, [Use(x)], lambda b, frames: b.call(torch.reshape, frames[0], (-1, *sizes))
    )


def _split_time(ctx: Context, node: fx.Node, place: _Place) -> Lowering:
    """Split time into groups of frames: a group is an element, and its frames are another axis.

    (N, 8, C, H, W) -> (N·4, 2·C, H, W)     element j holds frames 2·j and 2·j + 1
    """
    x: Any = node.args[0]
    before, after = ctx.shape(x), ctx.shape(node)
    type_in = ctx.type_of(x)
    group_size = place.group_size
    grouped = type_in.slide(group_size, group_size, 1, 0, 0)
    rows = after[0] // ctx.batch if place.axis else 1
    type_out = grouped.laid_out(place.axis, place.outer, 1, rows)
    uses = temporal_uses(x, type_in, type_out, group_size, 1, 0, fill=0.0)
    outside = _count_outside(type_in, before, ctx.batch)
    inside = math.prod(before) // (outside * type_in.count_elements(before, ctx.batch))
    sizes = type_out.row_shape(after)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        flat = [builder.call(torch.reshape, frame, (-1, inside)) for frame in frames]
        stacked = builder.call(torch.stack, flat, 1)
        return builder.call(torch.reshape, stacked, (-1, *sizes))

    return Lowering(type_out, uses, emit)


def _reshape_without_time(ctx: Context, node: fx.Node) -> Lowering:
    """Reshape a value with one element in time: time is one of the axes of size one, or none."""
    x: Any = node.args[0]
    before, after = ctx.shape(x), ctx.shape(node)
    type_in, axis_out, pool = ctx.type_of(x), None, None
    # The one axis of a pooled result (N, 1) is the channel, not time.
    if type_in.axis is not None and (len(after) > 2 or not type_in.is_pooled):
        axis_out = _find_unit_axis(_count_outside(type_in, before, ctx.batch), after)
    if type_in.axis is not None and axis_out is None and not type_in.is_pooled:
        pool = node.name
    sizes = [s for d, s in enumerate(after) if d not in (0, axis_out)]
    lowering = lower_framewise(
        node, ctx, axis_out, lambda b, x: b.call(torch.reshape, x, (-1, *sizes)), pool=pool
    )
    rows = ctx.shape(node)[0] // ctx.batch
    type_out = lowering.type.laid_out(axis_out, 1, 1, rows)
    return replace(lowering, type=type_out)


@rule(_ATEN.expand.default)
def lower_expand(ctx: Context, node: fx.Node) -> Lowering:
    """Expand axes of size one."""
    args = arguments(node)
    before, after = ctx.shape(args["self"]), ctx.shape(node)
    type_in = ctx.type_of(args["self"])
    require_batch(len(before) == len(after) and before[0] == after[0])
    axis = type_in.axis
    if axis and before[axis] != after[axis]:
        # A pooled value expanded over time is combined with frames, to which it broadcasts anyway.
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


@rule(_ATEN.unsqueeze.default, fold_aware=True)
def lower_unsqueeze(ctx: Context, node: fx.Node) -> Lowering:
    """Insert an axis."""
    args = arguments(node)
    type_in = ctx.type_of(args["self"])
    axis, dim = type_in.axis, args["dim"] % len(ctx.shape(node))
    require_batch(dim != 0)
    axis_out = axis if not axis else axis + (dim <= axis)
    step_dim = type_in.at_axis(axis_out).drop_axis(dim)
    return lower_framewise(node, ctx, axis_out, lambda b, x: b.call(torch.unsqueeze, x, step_dim))


@rule(_ATEN.squeeze.dim, _ATEN.squeeze.dims, fold_aware=True)
def lower_squeeze(ctx: Context, node: fx.Node) -> Lowering:
    """Remove axes of size one, also of time where a clip has one element."""
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


@rule(_ATEN.cat.default, fold_aware=True)
def lower_cat(ctx: Context, node: fx.Node) -> Lowering:
    """Concatenate along channels or space, with delays aligned."""
    args = arguments(node)
    operands, rank = list(args["tensors"]), len(ctx.shape(node))
    dim = args["dim"] % rank
    require_batch(dim != 0)
    along = [ctx.type_of(n) for n in operands if ctx.is_temporal(n) and ctx.type_of(n).axis == dim]
    if any(type_.is_merged for type_ in along):
        raise merged_time_error()
    if along:
        raise UnsupportedError("it concatenates along time", "concatenate channels")
    if not all(ctx.is_temporal(operand) for operand in operands):
        raise UnsupportedError("it concatenates a constant", "add the constant instead")
    type_out, uses = join_operands(ctx, operands, rank)
    step_dim = type_out.drop_axis(dim)
    return Lowering(
        type_out, uses, lambda builder, frames: builder.call(torch.cat, frames, step_dim)
    )


def _find_time(
    type_in: TemporalType, before: tuple[int, ...], after: tuple[int, ...], batch: int
) -> _Place | None:
    """The axis of time after a reshape of several elements.

    The order in memory is kept, so time is where the axes before it have the same total size:

        (N, C, T, H, W)       N·C outside of time, H·W inside
        (N, C, T·H·W)         axis 2, inner H·W
        (N·C, T, H, W)        axis 1
        (N, C, T/2, 2·H, W)   axis 2, 2 frames per group

    None if an axis begins within time, or ends within a group.
    """
    outside = _count_outside(type_in, before, batch)
    frames = type_in.count_elements(before, batch)
    reached = 1
    for axis, size in enumerate(after):
        ends = reached * size
        if frames > 1 and outside % reached == 0 and ends % outside == 0 and ends > outside:
            inside = ends // outside  # size of this axis' part from time on
            outer = outside // reached if axis else outside // batch
            if inside % frames == 0:
                return _Place(axis, outer, inside // frames, group_size=1)
            whole = frames % inside == 0
            return _Place(axis, outer, 1, group_size=frames // inside) if whole else None
        reached = ends
    return None


def _count_outside(type_in: TemporalType, shape: tuple[int, ...], batch: int) -> int:
    """The total size of the axes before time, the batch included."""
    assert type_in.axis is not None
    return type_in.outer * (math.prod(shape[: type_in.axis]) if type_in.axis else batch)


def _merges_into_time(
    type_in: TemporalType,
    place: _Place,
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> bool:
    """Whether a reshape merges the axis after time into it, as further frames between strides.

    (N, C, T, r, H, W) -> (N, C, T·r, H, W): frames that are repeated, or made of channels.
    """
    return (
        place.axis == type_in.axis == 2
        and (place.outer, type_in.outer, type_in.inner) == (1, 1, 1)
        and len(before) == 6
        and after == (*before[:2], before[2] * before[3], *before[4:])
        and place.inner > 1
        and type_in.stride % place.inner == 0
    )


def _find_unit_axis(outside: int, after: tuple[int, ...]) -> int | None:
    """The axis of size one that follows axes of this total size; None without one."""
    count = 1
    for position, size in enumerate(after):
        if position and count == outside and size == 1:
            return position
        count *= size
    return None
