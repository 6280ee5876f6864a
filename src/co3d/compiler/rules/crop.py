"""Cropping, striding, picking and padding, in time as in space.

In time these are windows of one element: output i reads input i·step + start, and padding is a
negative start. Elements that a pad adds have the pad's value as their fill.
"""

import torch
import torch.nn.functional as F
from torch import fx

from co3d.compiler.rules.registry import (
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    rule,
)
from co3d.compiler.rules.shape import lower_framewise, require_batch

_ATEN = torch.ops.aten


@rule(_ATEN.slice.Tensor)
def lower_slice(ctx: Context, node: fx.Node) -> Lowering:
    """Keep a range: of frames, with a step, or of channels or space."""
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
            "it cuts along time a value that a global pool has collapsed", "cut before the pool"
        )
    type_out = type_in.slide(1, step, 1, -start, end - shape[dim])
    back = type_out.delay - type_in.delay - start * type_in.stride
    return Lowering(type_out, [Use(x, back)], lambda _, frames: frames[0])


@rule(_ATEN.select.int)
def lower_select(ctx: Context, node: fx.Node) -> Lowering:
    """Pick one channel or place; of a clip's frames only the last, which a stream has at hand."""
    args = arguments(node)
    shape, type_in = ctx.shape(args["self"]), ctx.type_of(args["self"])
    dim, axis = args["dim"] % len(shape), type_in.axis
    require_batch(dim != 0)
    index = args["index"] % shape[dim]
    if dim == axis:
        if index != shape[dim] - 1:
            raise UnsupportedError(
                f"it picks element {index} of the {shape[dim]} of a clip",
                "a stream has no first frame: pick the last one (-1), or pool",
            )
        return lower_framewise(node, ctx, None, lambda _, x: x, pool=node.name)
    step_dim = type_in.drop_axis(dim)
    axis_out = axis if not axis else axis - (dim < axis)
    return lower_framewise(
        node, ctx, axis_out, lambda b, x: b.call(torch.select, x, step_dim, index)
    )


@rule(_ATEN.index_select.default, _ATEN.flip.default)
def lower_reordering(ctx: Context, node: fx.Node) -> Lowering:
    """Pick or mirror channels or places by a constant table."""
    args = arguments(node)
    shape, type_in = ctx.shape(args["self"]), ctx.type_of(args["self"])
    given = args["dims"] if "dims" in args else [args["dim"]]
    dims = [d % len(shape) for d in given]
    require_batch(0 not in dims)
    if type_in.axis in dims:
        raise UnsupportedError(
            "it picks or mirrors the frames of a clip in an order of its own",
            "take every n-th frame by a slice; what comes later cannot come first",
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
        # The frames that it adds hold its value, in the corners as well.
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
    """Pad space with its own border; time cannot be."""
    args = arguments(node)
    type_in, pads = ctx.type_of(args["self"]), list(args["padding"])
    mode = "reflect" if "reflection" in str(node.target) else "replicate"
    if type_in.axis != 2 or any(pads[4:]):
        raise UnsupportedError(f"it pads time with mode={mode!r}", "pad time with a constant")
    return lower_framewise(node, ctx, type_in.axis, lambda b, x: b.call(F.pad, x, pads[:4], mode))
