"""The reads of temporal windows (convolutions and pools)."""

from collections.abc import Sequence

from torch import fx

from co3d.compiler.rules.registry import Context, UnsupportedError, Use
from co3d.compiler.temporal import TemporalType


def temporal_uses(
    node: fx.Node,
    type_in: TemporalType,
    type_out: TemporalType,
    kernel: int,
    dilation: int,
    pad_start: int,
    fill: float,
) -> list[Use]:
    """The reads of a temporal window, oldest first.

    Tap m of output i reads input i·stride - pad_start + m·dilation. At the tick of output i that
    input is `back` ticks old: the difference of both delays, plus the frames between them.
    """
    lag = type_out.delay - type_in.delay
    longer = type_out.extent + type_out.overhang > type_in.extent + type_in.overhang
    if kernel == 1 and pad_start == 0 and not longer:
        # One use per element, so that elements outside of the clip are never read.
        return [Use(node, lag)]
    return [
        Use(node, lag + (pad_start - tap * dilation) * type_in.stride, fill)
        for tap in range(kernel)
    ]


def clip_input(ctx: Context, x: fx.Node, kernel: int, axis: int = 2) -> TemporalType:
    """The type of a (N, C, T, …) operand with time at axis 2; UnsupportedError otherwise."""
    if not ctx.is_temporal(x):
        raise UnsupportedError("its input is a constant", "compute it once and store the result")
    type_in = ctx.type_of(x)
    if type_in.axis != axis or type_in.is_merged:
        place = "no time axis" if type_in.axis is None else f"time at axis {type_in.axis}"
        raise UnsupportedError(
            f"its input of shape {ctx.shape(x)} has {place}, expected it at axis 2",
            "keep clips as (N, C, T, …), or fold frames into the batch by x.transpose(1, 2)"
            ".reshape(-1, C, …)",
        )
    if type_in.is_pooled and kernel > 1:
        raise UnsupportedError(
            "its temporal kernel reads a value that a global pool has collapsed",
            "pool after the last operator that looks along time",
        )
    return type_in


def time_first(ctx: Context, x: fx.Node, axes: int) -> tuple[int, list[int]]:
    """The index of time among the axes of a window, and the order of axes with time first.

    Time is usually first; some networks treat a clip as a picture with time as its width.
    """
    type_in = ctx.type_of(x) if ctx.is_temporal(x) else None
    axis = type_in.axis if type_in and type_in.axis and 2 <= type_in.axis < 2 + axes else 2
    return axis, [axis - 2, *(d for d in range(axes) if d != axis - 2)]


def per_axis(value: Sequence[int], axes: int) -> tuple[int, ...]:
    """One number per axis; ATen also accepts one for all."""
    return tuple(value) * axes if len(value) == 1 else tuple(value)
