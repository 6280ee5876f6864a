"""Cropping, striding and padding, in time as in space.

In time these are windows of one element: output i reads input i·step + start, and padding is a
negative start. Elements that a pad adds have the pad's value as their fill.
"""

import torch
import torch.nn.functional as F
from torch import fx

from co3d.stream.rules.registry import (
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    rule,
)
from co3d.stream.rules.shape import drop_axis, lower_framewise

_ATEN = torch.ops.aten


@rule(_ATEN.slice.Tensor)
def lower_slice(ctx: Context, node: fx.Node) -> Lowering:
    """Keep a range: of frames, with a step, or of channels or space."""
    args = arguments(node)
    x = args["self"]
    shape, type_in = ctx.shape(x), ctx.type_of(x)
    axis, dim = type_in.axis, args["dim"] % len(shape)
    if dim == 0:
        raise UnsupportedError("it cuts the batch", "treat all streams of a batch alike")
    start, end, _ = slice(args["start"], args["end"]).indices(shape[dim])
    step = args["step"]
    if dim != axis:
        rest = (drop_axis(dim, axis), start, end, step)
        return lower_framewise(node, ctx, axis, lambda b, x: b.call(_ATEN.slice.Tensor, x, *rest))
    if type_in.is_pooled:
        raise UnsupportedError(
            "it cuts along time a value that a global pool has collapsed", "cut before the pool"
        )
    type_out = type_in.slide(1, step, 1, -start, end - shape[dim])
    back = type_out.delay - type_in.delay - start * type_in.stride
    return Lowering(type_out, [Use(x, back)], lambda _, frames: frames[0])


@rule(_ATEN.constant_pad_nd.default, _ATEN.pad.default)
def lower_pad(ctx: Context, node: fx.Node) -> Lowering:
    """Pad frames with a value, or space in any mode; a negative pad crops."""
    args = arguments(node)
    x, flat = args["self"], list(args["pad"])
    mode, value = args.get("mode", "constant"), args["value"] or 0.0
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    axis = type_in.axis
    pads = {rank - 1 - i: (flat[2 * i], flat[2 * i + 1]) for i in range(len(flat) // 2)}
    start, end = pads.pop(axis, (0, 0)) if axis is not None else (0, 0)
    if 0 in pads:
        raise UnsupportedError("it pads the batch", "treat all streams of a batch alike")
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
