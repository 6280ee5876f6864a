"""Pools: a sliding maximum or mean over past frames; the global pool over a sliding window."""

import torch
import torch.nn.functional as F
from torch import fx

from co3d.stream.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    rule,
)
from co3d.stream.rules.shape import drop_axis
from co3d.stream.rules.windows import clip_input, temporal_uses, triple

_ATEN = torch.ops.aten


@rule(_ATEN.max_pool3d.default)
def lower_max_pool3d(ctx: Context, node: fx.Node) -> Lowering:
    """Maximum over the last kt frames (outside the clip: -inf), then in space."""
    args = arguments(node)
    x = args["self"]
    kernel, stride = triple(args["kernel_size"]), triple(args["stride"] or args["kernel_size"])
    pads, dilation = triple(args["padding"]), triple(args["dilation"])
    type_in = clip_input(ctx, x, kernel[0])
    if args["ceil_mode"] and kernel[0] > 1:
        raise UnsupportedError("it rounds its length up (ceil_mode) in time", "set ceil_mode=False")
    type_out = type_in.slide(kernel[0], stride[0], dilation[0], pads[0], pads[0])
    uses = temporal_uses(x, type_in, type_out, kernel[0], dilation[0], pads[0], float("-inf"))

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        newest = frames[0]
        for frame in frames[1:]:
            newest = builder.call(torch.maximum, newest, frame)
        if kernel[1:] == stride[1:] == (1, 1):
            return newest
        return builder.call(
            F.max_pool2d,
            newest,
            kernel[1:],
            stride[1:],
            pads[1:],
            dilation[1:],
            ceil_mode=args["ceil_mode"],
        )

    return Lowering(type_out, uses, emit)


@rule(_ATEN.avg_pool3d.default)
def lower_avg_pool3d(ctx: Context, node: fx.Node) -> Lowering:
    """Mean over the last kt frames (outside the clip: zero, and counted), then in space."""
    args = arguments(node)
    x = args["self"]
    kernel, stride = triple(args["kernel_size"]), triple(args["stride"] or args["kernel_size"])
    pads = triple(args["padding"])
    type_in = clip_input(ctx, x, kernel[0])
    if kernel[0] > 1 and (args["ceil_mode"] or args["divisor_override"]):
        raise UnsupportedError(
            "ceil_mode and divisor_override have no step form in time",
            "leave both at their default",
        )
    if pads[0] and not args["count_include_pad"]:
        raise UnsupportedError(
            "it leaves temporal padding out of its mean (count_include_pad=False)",
            "set count_include_pad=True",
        )
    type_out = type_in.slide(kernel[0], stride[0], 1, pads[0], pads[0])
    uses = temporal_uses(x, type_in, type_out, kernel[0], 1, pads[0], fill=0.0)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        mean = frames[0]
        if len(frames) > 1:
            mean = builder.call(torch.mean, builder.call(torch.stack, frames), 0)
        if kernel[1:] == stride[1:] == (1, 1):
            return mean
        return builder.call(
            F.avg_pool2d,
            mean,
            kernel[1:],
            stride[1:],
            pads[1:],
            ceil_mode=args["ceil_mode"],
            count_include_pad=args["count_include_pad"],
            divisor_override=args["divisor_override"],
        )

    return Lowering(type_out, uses, emit)


@rule(_ATEN.mean.dim)
def lower_mean(ctx: Context, node: fx.Node) -> Lowering:
    """A mean over space acts on each frame; one over time becomes a sliding window."""
    args = arguments(node, "self", "dim", "keepdim", "dtype")
    x, keepdim = args["self"], args["keepdim"]
    rank = len(ctx.shape(x))
    dims = sorted(d % rank for d in (args["dim"] or range(rank)))
    type_in = ctx.type_of(x)
    axis = type_in.axis
    if 0 in dims:
        raise UnsupportedError("it averages over the batch", "treat the streams of a batch apart")
    if axis in dims and not type_in.is_pooled:
        return _lower_window(ctx, node, x, dims, keepdim)
    # A pooled value's time axis holds one element: averaging over it changes nothing.
    step_dims = [drop_axis(d, axis) for d in dims if d != axis]
    lost = 0 if axis is None or keepdim else sum(d < axis for d in dims)
    axis_out = axis if axis is None or keepdim or axis not in dims else None
    type_out = type_in.at_axis(None if axis_out is None else axis_out - lost)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        if not step_dims:
            return frames[0]
        return builder.call(torch.mean, frames[0], step_dims, keepdim)

    return Lowering(type_out, [Use(x)], emit)


def _lower_window(
    ctx: Context, node: fx.Node, x: fx.Node, dims: list[int], keepdim: bool
) -> Lowering:
    """The mean of the newest `window` elements.

    window 4 at tick n:    n-3  n-2  n-1  n     of which only those since the stream began count

    A pass has made space go first where it could, so that few numbers are kept per element.
    """
    type_in = ctx.type_of(x)
    axis = type_in.axis
    assert axis is not None
    window = ctx.windows.setdefault(node.name, ctx.shape(x)[axis])
    reach = (window - 1) * type_in.stride
    type_out = type_in.collapse(axis if keepdim else None, reach, node.name)
    uses = [Use(x, (window - 1 - k) * type_in.stride, 0.0) for k in range(window)]
    step_dims = [drop_axis(d, axis) for d in dims if d != axis]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total = frames[0]
        if window > 1:
            total = builder.call(torch.sum, builder.call(torch.stack, frames), 0)
        if step_dims:
            total = builder.call(torch.mean, total, step_dims, keepdim)
        count = builder.element_count(type_in, window)
        if count is None:
            return builder.call(torch.mul, total, 1.0 / window)
        kept = len(ctx.shape(node)) - (type_out.axis is not None)
        divisor = builder.call(torch.reshape, count, (-1,) + (1,) * (kept - 1))
        return builder.call(torch.div, total, divisor)

    return Lowering(type_out, uses, emit)
