"""Resizing: pictures by any ratio, time by whole ratios up to the strides before it."""

import math
from typing import Any

import torch
from torch import fx

from co3d.compiler.rules.interleave import interleave, repeat_frames, stretch_input, use_at
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    rule,
)
from co3d.compiler.rules.shape import lower_framewise

_ATEN = torch.ops.aten
# Operator -> the operator that resizes space alone; None for (N, C, T), which has no space.
_NEAREST: dict[Any, Any] = {
    _ATEN.upsample_nearest1d.vec: None,
    _ATEN.upsample_nearest3d.vec: _ATEN.upsample_nearest2d.vec,
    _ATEN._upsample_nearest_exact1d.vec: None,
    _ATEN._upsample_nearest_exact3d.vec: _ATEN._upsample_nearest_exact2d.vec,
}
_LINEAR: dict[Any, Any] = {
    _ATEN.upsample_linear1d.vec: None,
    _ATEN.upsample_trilinear3d.vec: _ATEN.upsample_bilinear2d.vec,
}


@rule(*_NEAREST)
def lower_nearest(ctx: Context, node: fx.Node) -> Lowering:
    """Repeat each frame by the ratio in time, resized in space."""
    args = arguments(node)
    resize = _plan_space(ctx, node)
    return repeat_frames(
        ctx, args["input"], _find_ratio(ctx, node), lambda b, frame, _: resize(b, frame)
    )


@rule(*_LINEAR)
def lower_linear_resize(ctx: Context, node: fx.Node) -> Lowering:
    """Interpolate linearly between the two nearest frames.

    ratio 2:   input     x0        x1        x2          y1 = 3/4 x0 + 1/4 x1
               output  y0   y1   y2   y3   y4   y5       y2 = 1/4 x0 + 3/4 x1

    If one of the two lies outside the clip, it is replaced by the other.
    """
    args = arguments(node)
    x, ratio = args["input"], _find_ratio(ctx, node)
    resize = _plan_space(ctx, node)
    if ratio > 1 and args["align_corners"]:
        raise UnsupportedError(
            "it aligns the first and last frames, so that all others lie where the clip's length "
            "puts them",
            "resize time with align_corners=False",
        )
    stretched = stretch_input(ctx, x, ratio)
    reach = ratio // 2
    start, span = ratio - 1 + reach, ratio - 1 + 2 * reach
    type_out = stretched.slide(span + 1, 1, 1, start, ratio - 1 + span - start)
    rank = len(ctx.shape(x)) - 1

    def make(variant: int) -> Lowering:
        place = (variant + 0.5) / ratio - 0.5
        before = math.floor(place)
        share = place - before
        elements = [before, before + 1] if share else [before]
        uses = [use_at(x, stretched, type_out, e * ratio - variant, None) for e in elements]

        def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
            frame = frames[0]
            if share:
                older, newer = _replace_outside(builder, frames, rank)
                frame = builder.call(torch.mul, older, 1.0 - share)
                frame = builder.call(torch.add, frame, builder.call(torch.mul, newer, share))
            return resize(builder, frame)

        return Lowering(type_out, uses, emit, counts=bool(share))

    return interleave(type_out, ratio, make)


@rule(_ATEN.repeat_interleave.self_int)
def lower_repeat_interleave(ctx: Context, node: fx.Node) -> Lowering:
    """Repeat each frame, or each channel or position within the frames."""
    args = arguments(node)
    x, repeats = args["self"], args["repeats"]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    dim = None if args["dim"] is None else args["dim"] % rank
    if dim is None or dim == 0:
        raise UnsupportedError("it repeats rows of the batch", "treat all streams of a batch alike")
    if dim == type_in.axis:
        return repeat_frames(ctx, x, repeats, lambda _, frame, __: frame)
    step_dim = type_in.drop_axis(dim)

    def emit(builder: Builder, frame: fx.Node) -> fx.Node:
        alike = builder.call(torch.stack, [frame] * repeats, step_dim + 1)
        return builder.call(torch.flatten, alike, step_dim, step_dim + 1)

    return lower_framewise(node, ctx, type_in.axis, emit)


def _find_ratio(ctx: Context, node: fx.Node) -> int:
    """The ratio in time; UnsupportedError if it is not a whole number."""
    args = arguments(node)
    before, after = ctx.shape(args["input"])[2], ctx.shape(node)[2]
    scale = args["scale_factors"] and args["scale_factors"][0]
    if after % before or scale not in (None, after // before):
        raise UnsupportedError(
            f"it makes {after} frames of {before}" + (f" by a scale of {scale}" if scale else ""),
            "enlarge time by a whole number, or resize space only: scale_factor=(1, 2, 2)",
        )
    return after // before


def _plan_space(ctx: Context, node: fx.Node) -> Any:
    """The function that emits the resizing of one frame."""
    args = arguments(node)
    target = _NEAREST.get(node.target) or _LINEAR.get(node.target)
    size = args["output_size"] and args["output_size"][1:]
    scale = args["scale_factors"] and args["scale_factors"][1:]
    corners = [args["align_corners"]] if "align_corners" in args else []
    if target is None or ctx.shape(args["input"])[3:] == ctx.shape(node)[3:]:
        return lambda _, frame: frame
    return lambda builder, frame: builder.call(target, frame, size, *corners, scale)


def _replace_outside(builder: Builder, frames: list[fx.Node], rank: int) -> list[fx.Node]:
    """Two elements, each replaced by the other for streams where it lies outside the clip."""
    inside = builder.are_inside()
    if inside is None:
        return frames
    chosen = []
    for own, other in ((0, 1), (1, 0)):
        real = builder.call(torch.select, inside, 1, own)
        real = builder.call(torch.reshape, real, (-1,) + (1,) * (rank - 1))
        chosen.append(builder.call(torch.where, real, frames[own], frames[other]))
    return chosen
