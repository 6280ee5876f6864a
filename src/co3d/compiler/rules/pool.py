"""Sliding pools: a maximum or mean over past frames, then in space."""

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
    rule,
)
from co3d.compiler.rules.windows import clip_input, per_axis, temporal_uses, time_first

_ATEN = torch.ops.aten
# Pool -> the pool over space alone; None for pools of (N, C, T).
_SPACE: dict[Any, Callable[..., Any] | None] = {
    _ATEN.max_pool1d.default: None,
    _ATEN.max_pool2d.default: F.max_pool1d,
    _ATEN.max_pool3d.default: F.max_pool2d,
    _ATEN.avg_pool1d.default: None,
    _ATEN.avg_pool2d.default: F.avg_pool1d,
    _ATEN.avg_pool3d.default: F.avg_pool2d,
}


@rule(_ATEN.max_pool1d.default, _ATEN.max_pool2d.default, _ATEN.max_pool3d.default)
def lower_max_pool(ctx: Context, node: fx.Node) -> Lowering:
    """Maximum over the last kt frames (outside the clip: -inf), then in space."""
    args = arguments(node)
    x, axes = args["self"], len(ctx.shape(args["self"])) - 2
    place, order = time_first(ctx, x, axes)
    kernel, stride, pads, dilation = (
        [per_axis(args[name] or args["kernel_size"], axes)[d] for d in order]
        for name in ("kernel_size", "stride", "padding", "dilation")
    )
    type_in = clip_input(ctx, x, kernel[0], place)
    type_out = type_in.slide(
        kernel[0], stride[0], dilation[0], pads[0], pads[0], ceil_mode=args["ceil_mode"]
    )
    uses = temporal_uses(x, type_in, type_out, kernel[0], dilation[0], pads[0], float("-inf"))
    pool_space = _SPACE[node.target]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        newest = frames[0]
        for frame in frames[1:]:
            newest = builder.call(torch.maximum, newest, frame)
        if pool_space is None or set(kernel[1:]) == set(stride[1:]) == {1}:
            return newest
        rest = (kernel[1:], stride[1:], pads[1:], dilation[1:])
        return builder.call(pool_space, newest, *rest, ceil_mode=args["ceil_mode"])

    return Lowering(type_out, uses, emit)


@rule(_ATEN.avg_pool1d.default, _ATEN.avg_pool2d.default, _ATEN.avg_pool3d.default)
def lower_avg_pool(ctx: Context, node: fx.Node) -> Lowering:
    """Mean over the last kt frames, then in space.

    Frames outside the clip are zero. The mean includes padding with `count_include_pad`, but never
    positions beyond it, which windows with `ceil_mode` cover.
    """
    args = arguments(node)
    x, axes = args["self"], len(ctx.shape(args["self"])) - 2
    place, order = time_first(ctx, x, axes)
    kernel, stride, pads = (
        [per_axis(args[name] or args["kernel_size"], axes)[d] for d in order]
        for name in ("kernel_size", "stride", "padding")
    )
    divisor = args.get("divisor_override")
    type_in = clip_input(ctx, x, kernel[0], place)
    type_out = type_in.slide(kernel[0], stride[0], 1, pads[0], pads[0], ceil_mode=args["ceil_mode"])
    uses = temporal_uses(x, type_in, type_out, kernel[0], 1, pads[0], fill=0.0)
    padded = pads[0] * type_in.stride if args["count_include_pad"] else 0
    # Every window lies within the padded clip, unless the last one reaches further.
    counts = not divisor and kernel[0] > 1
    counts &= args["ceil_mode"] or not args["count_include_pad"]
    pool_space = _SPACE[node.target]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        mean = frames[0]
        if len(frames) > 1:
            mean = builder.call(torch.sum, builder.call(torch.stack, frames), 0)
            count = builder.count_inside(padded, padded) if counts else None
            if count is not None:
                view = (-1,) + (1,) * axes
                mean = builder.call(torch.div, mean, builder.call(torch.reshape, count, view))
            elif not divisor:
                mean = builder.call(torch.mul, mean, 1.0 / kernel[0])
        if pool_space is None:
            return mean if not divisor else builder.call(torch.div, mean, divisor)
        if set(kernel[1:]) == set(stride[1:]) == {1} and not divisor:
            return mean
        options: dict[str, Any] = {
            "ceil_mode": args["ceil_mode"],
            "count_include_pad": args["count_include_pad"],
        }
        if divisor and axes == 3:
            options["divisor_override"] = divisor
        return builder.call(pool_space, mean, kernel[1:], stride[1:], pads[1:], **options)

    return Lowering(type_out, uses, emit, counts=counts)


@rule(_ATEN.adaptive_avg_pool3d.default, _ATEN._adaptive_avg_pool3d.default)
def lower_adaptive_avg_pool3d(ctx: Context, node: fx.Node) -> Lowering:
    """An adaptive pool over space alone; a pass has replaced those over time."""
    args = arguments(node)
    x, sizes = args["self"], per_axis(args["output_size"], 3)
    type_in, clip_frames = clip_input(ctx, x, 1), ctx.shape(x)[2]
    if sizes[0] != clip_frames:
        raise UnsupportedError(
            f"it pools {clip_frames} frames to {sizes[0]}, which is no whole ratio",
            "pool time to 1, or to a divisor of the clip's length",
        )
    return Lowering(
        type_in,
        [Use(x)],
        lambda builder, frames: builder.call(F.adaptive_avg_pool2d, frames[0], sizes[1:]),
    )
