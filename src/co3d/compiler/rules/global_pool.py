"""Global pools: over a whole clip they become pools over a window of the newest elements."""

from typing import Any

import torch
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
from co3d.compiler.temporal import TemporalType

_ATEN = torch.ops.aten
_MEAN, _SUM = _ATEN.mean.dim, _ATEN.sum.dim_IntList
# Reduction over time -> the fill for elements outside of the clip.
_FILLS: dict[Any, float] = {
    _MEAN: 0.0,
    _SUM: 0.0,
    _ATEN.amax.default: float("-inf"),
    _ATEN.amin.default: float("inf"),
}


@rule(_MEAN, _SUM, _ATEN.amax.default, _ATEN.amin.default)
def lower_reduction(ctx: Context, node: fx.Node) -> Lowering:
    """A reduction over channels or space acts on each frame; one over time becomes a window."""
    args = arguments(node)
    x, keepdim = args["self"], args["keepdim"]
    type_in, rank = ctx.type_of(x), len(ctx.shape(x))
    axis, dims = type_in.axis, reduced_dims(args["dim"], rank)
    if 0 in dims:
        raise UnsupportedError("it reduces over the batch", "treat all streams of a batch alike")
    if axis in dims and not type_in.is_pooled:
        return _lower_window(ctx, node, x, dims, keepdim)
    # A pooled value has one element in time: reducing over it changes nothing.
    step_dims = [type_in.drop_axis(d) for d in dims if d != axis]
    axis_out = None
    if axis is not None and (keepdim or axis not in dims):
        axis_out = axis if keepdim else axis - sum(d < axis for d in dims)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        return _reduce(builder, node, frames[0], step_dims, keepdim) if step_dims else frames[0]

    return Lowering(type_in.at_axis(axis_out), [Use(x)], emit)


def _lower_window(
    ctx: Context, node: fx.Node, x: fx.Node, dims: list[int], keepdim: bool
) -> Lowering:
    """The reduction over the newest `window` elements.

    window 4 at tick n:    n-3  n-2  n-1  n     of which only those since the stream began count

    A pass has moved reductions over space before it where possible, so that the state is small.
    """
    type_in = ctx.type_of(x)
    axis = type_in.axis
    assert axis is not None
    window = ctx.windows.setdefault(node.name, ctx.shape(x)[axis])
    reach = (window - 1) * type_in.stride
    type_out = type_in.collapse(axis if keepdim else None, reach, node.name)
    step_dims = [type_in.drop_axis(d) for d in dims if d != axis]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total = _reduce_elements(builder, node.target, frames)
        if step_dims:
            total = _reduce(builder, node, total, step_dims, keepdim)
        if node.target is not _MEAN:
            return total
        kept = len(type_out.row_shape(ctx.shape(node)))
        return divide_by_count(builder, total, window, kept)

    uses = window_uses(x, type_in, window, _FILLS[node.target])
    return Lowering(type_out, uses, emit, counts=node.target is _MEAN)


def window_uses(x: fx.Node, type_in: TemporalType, window: int, fill: float) -> list[Use]:
    """The reads of the newest `window` elements, oldest first."""
    return [Use(x, (window - 1 - k) * type_in.stride, fill) for k in range(window)]


def divide_by_count(builder: Builder, total: fx.Node, window: int, axes: int) -> fx.Node:
    """Divide a sum over the window by the number of elements inside the clip.

    `axes` is the number of axes of the sum, without the batch.
    """
    count = builder.count_inside()
    if count is None:
        return builder.call(torch.mul, total, 1.0 / window)
    return builder.call(torch.div, total, builder.call(torch.reshape, count, (-1,) + (1,) * axes))


def sum_elements(builder: Builder, frames: list[fx.Node]) -> fx.Node:
    """The sum of the elements of a window."""
    return _reduce_elements(builder, _SUM, frames)


def _reduce_elements(builder: Builder, target: Any, frames: list[fx.Node]) -> fx.Node:
    if len(frames) == 1:
        return frames[0]
    clip = builder.call(torch.stack, frames)
    reduce: dict[Any, Any] = {_ATEN.amax.default: torch.amax, _ATEN.amin.default: torch.amin}
    chosen: Any = reduce.get(target, torch.sum)
    return builder.call(chosen, clip, 0)


def _reduce(
    builder: Builder, node: fx.Node, frame: fx.Node, dims: list[int], keepdim: bool
) -> fx.Node:
    """The reduction over some axes of one frame, with the node's other options."""
    target: Any = node.target
    if target is _MEAN:
        return builder.call(torch.mean, frame, dims, keepdim)
    options = {name: v for name, v in arguments(node).items() if name not in ("self", "dtype")}
    chosen: Any = dims[0] if isinstance(options["dim"], int) else dims
    return builder.call(target, frame, **{**options, "dim": chosen})


def reduced_dims(dim: Any, rank: int) -> list[int]:
    """The axes that a reduction names, in order; all where it names none."""
    if isinstance(dim, int):
        return [dim % rank]
    return sorted(d % rank for d in (dim or range(rank)))
