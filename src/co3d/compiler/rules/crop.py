"""Cropping, striding, picking and padding, in time as in space.

In time these are windows of one element: output i reads input i·step + start, and padding is a
negative start. The fill of the elements that a pad adds is the pad's value.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

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
from co3d.compiler.rules.shape import lower_framewise, require_batch

_ATEN = torch.ops.aten


@rule(_ATEN.slice.Tensor, fold_aware=True)
def lower_slice(ctx: Context, node: fx.Node) -> Lowering:
    """Keep a range of frames (with a step), channels or space."""
    args = arguments(node)
    x = args["self"]
    shape, type_in = ctx.shape(x), ctx.type_of(x)
    dim = args["dim"] % len(shape)
    start, end, _ = slice(args["start"], args["end"]).indices(shape[dim])
    step = args["step"]
    require_batch(dim != 0 or (start, end, step) == (0, shape[0], 1))
    if dim != type_in.axis or dim == 0:
        rest = (type_in.drop_axis(dim), start, end, step)
        return lower_framewise(
            node, ctx, type_in.axis, lambda b, x: b.call(_ATEN.slice.Tensor, x, *rest)
        )
    if type_in.is_pooled:
        raise UnsupportedError(
            "it slices the time axis of a value that a global pool has collapsed",
            "slice before the pool",
        )
    if type_in.is_merged:
        return _take_frames(ctx, node, dim, start, end, step)
    type_out = type_in.slide(1, step, 1, -start, end - shape[dim])
    back = type_out.delay - type_in.delay - start * type_in.stride
    return Lowering(type_out, [Use(x, back)], lambda _, frames: frames[0])


@rule(_ATEN.select.int, fold_aware=True)
def lower_select(ctx: Context, node: fx.Node) -> Lowering:
    """Select one channel or position, or one frame of the clip.

    The frame `n` before the clip's last is the one that came `n` frames ago.
    """
    args = arguments(node)
    shape, type_in = ctx.shape(args["self"]), ctx.type_of(args["self"])
    dim, axis = args["dim"] % len(shape), type_in.axis
    require_batch(dim != 0)
    index = args["index"] % shape[dim]
    if dim == axis:
        if type_in.is_merged:
            raise merged_time_error()
        age = shape[dim] - 1 - index
        if age:
            return _gather(ctx, node, [age], lambda _, frames: frames[0])
        return lower_framewise(node, ctx, None, lambda _, x: x, pool=node.name)
    step_dim = type_in.drop_axis(dim)
    axis_out = axis if not axis else axis - (dim < axis)
    return lower_framewise(
        node, ctx, axis_out, lambda b, x: b.call(torch.select, x, step_dim, index)
    )


def _take_frames(
    ctx: Context, node: fx.Node, dim: int, start: int, end: int, step: int
) -> Lowering:
    """Select whole frames of (N, T·C, …), which the result has as channels, of the newest clip."""
    x: Any = node.args[0]
    type_in, shape = ctx.type_of(x), ctx.shape(x)
    frame = type_in.inner
    if type_in.outer > 1 or step != 1 or start % frame or end % frame:
        raise UnsupportedError(
            f"it slices {start} to {end} with step {step} of an axis of {frame}-channel frames",
            "take whole frames",
        )
    length = type_in.count_elements(shape, ctx.batch)
    ages = [length - 1 - index for index in range(start // frame, end // frame)]
    return _gather(ctx, node, ages, lambda b, frames: b.call(torch.cat, frames, dim))


@rule(_ATEN.index_select.default, _ATEN.flip.default)
def lower_reordering(ctx: Context, node: fx.Node) -> Lowering:
    """Select or flip channels or positions by a constant table."""
    args = arguments(node)
    shape, type_in = ctx.shape(args["self"]), ctx.type_of(args["self"])
    given = args["dims"] if "dims" in args else [args["dim"]]
    dims = [d % len(shape) for d in given]
    require_batch(0 not in dims)
    if type_in.axis in dims and "index" in args:
        return _pick_frames(ctx, node, dims[0])
    if type_in.axis in dims:
        raise UnsupportedError(
            "it reverses the frames of a clip", "keep their order, as a stream has no later frames"
        )
    step_dims = [type_in.drop_axis(d) for d in dims]
    if node.target is _ATEN.flip.default:
        return lower_framewise(
            node, ctx, type_in.axis, lambda b, x: b.call(torch.flip, x, step_dims)
        )
    table = ctx.tensor(args["index"])
    assert table is not None
    return lower_framewise(
        node,
        ctx,
        type_in.axis,
        lambda b, x: b.call(torch.index_select, x, step_dims[0], b.constant(table)),
    )


def _pick_frames(ctx: Context, node: fx.Node, dim: int) -> Lowering:
    """Select elements of the newest clip by a table, stacked along an axis that is no longer time.

    `write_frame_picks` has made all indices non-negative.
    """
    args = arguments(node)
    x, table = args["self"], ctx.tensor(args["index"])
    assert table is not None
    type_in, length = ctx.type_of(x), ctx.shape(x)[dim]
    if type_in.is_pooled:
        raise UnsupportedError(
            "it picks frames of a value that a global pool has collapsed", "pick before the pool"
        )
    ages = [length - 1 - index for index in table.tolist()]
    return _gather(ctx, node, ages, lambda b, frames: b.call(torch.stack, frames, dim))


def _gather(
    ctx: Context,
    node: fx.Node,
    ages: list[int],
    emit: Callable[[Builder, list[fx.Node]], fx.Node],
) -> Lowering:
    """A value computed from elements of these ages, in elements before the clip's last."""
    x: Any = node.args[0]
    type_in = ctx.type_of(x)
    ctx.fix_window(node, max(ages) + 1)
    type_out = type_in.collapse(None, max(ages) * type_in.stride, node.name)
    return Lowering(type_out, [Use(x, age * type_in.stride, 0.0) for age in ages], emit)


@rule(_ATEN.constant_pad_nd.default, _ATEN.pad.default)
def lower_pad(ctx: Context, node: fx.Node) -> Lowering:
    """Pad frames with a value, or space in any mode; a negative pad crops."""
    args = arguments(node)
    x, flat = args["self"], list(args["pad"])
    mode, value = args.get("mode", "constant"), args["value"] or 0.0
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    axis = type_in.axis
    pads = {rank - 1 - i: (flat[2 * i], flat[2 * i + 1]) for i in range(len(flat) // 2)}
    require_batch(not any(pads.pop(0, (0, 0))))
    start, end = pads.pop(axis, (0, 0)) if axis else (0, 0)
    space = [n for dim in sorted(pads, reverse=True) for n in pads[dim]]
    if start == end == 0:
        uses, type_out = [Use(x)], type_in
    elif mode != "constant" or type_in.is_pooled:
        raise UnsupportedError(
            f"it pads time with mode={mode!r}", "pad time with a constant, before the global pool"
        )
    else:
        type_out = type_in.slide(1, 1, 1, start, end)
        back = type_out.delay - type_in.delay + start * type_in.stride
        # Added frames hold the pad's value everywhere, corners included.
        uses = [Use(x, back, float(value))]
    return Lowering(
        type_out,
        uses,
        lambda builder, frames: (
            builder.call(F.pad, frames[0], space, mode, value) if any(space) else frames[0]
        ),
    )


@rule(
    _ATEN.reflection_pad3d.default,
    _ATEN.replication_pad3d.default,
)
def lower_mirror_pad3d(ctx: Context, node: fx.Node) -> Lowering:
    """Pad space by reflection or replication; refuse that for time."""
    args = arguments(node)
    type_in, pads = ctx.type_of(args["self"]), list(args["padding"])
    mode = "reflect" if "reflection" in str(node.target) else "replicate"
    if type_in.axis != 2 or any(pads[4:]):
        raise UnsupportedError(f"it pads time with mode={mode!r}", "pad time with a constant")
    return lower_framewise(node, ctx, type_in.axis, lambda b, x: b.call(F.pad, x, pads[:4], mode))
