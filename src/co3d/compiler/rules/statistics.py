"""Statistics over time other than sums, recomputed from the newest elements at each step."""

import math
from typing import Any

import torch
from torch import fx

from co3d.compiler.rules.global_pool import lower_reduction, reduced_dims, window_uses
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    rule,
)

_ATEN = torch.ops.aten
_DEVIATIONS = {_ATEN.std.dim, _ATEN.std.correction}
_VARIANCES = {*_DEVIATIONS, _ATEN.var.dim, _ATEN.var.correction}
# Statistic -> the fill for elements outside of the clip, its neutral element.
_FILLS: dict[Any, float] = {
    _ATEN.logsumexp.default: float("-inf"),
    _ATEN.prod.dim_int: 1.0,
    _ATEN.linalg_vector_norm.default: 0.0,
    **dict.fromkeys(_VARIANCES, 0.0),
}


@rule(*_FILLS)
def lower_statistic(ctx: Context, node: fx.Node) -> Lowering:
    """A statistic over channels or space of each frame, or over a window as long as the clip."""
    args = arguments(node)
    x = args["self"]
    type_in, shape = ctx.type_of(x), ctx.shape(x)
    axis, dims = type_in.axis, reduced_dims(args["dim"], len(shape))
    if axis not in dims or type_in.is_pooled or 0 in dims:
        return lower_reduction(ctx, node)
    assert axis is not None
    target: Any = node.target
    if args.get("ord", 2) <= 0:
        raise UnsupportedError(
            f"it takes the norm of order {args['ord']} over time",
            "use one of a positive order",
        )
    window = ctx.windows.setdefault(node.name, shape[axis])
    reach = (window - 1) * type_in.stride
    type_out = type_in.collapse(axis if args["keepdim"] else None, reach, node.name)
    # The elements are stacked along axis 1.
    step_dims = [1, *(type_in.drop_axis(d) + 1 for d in dims if d != axis)]
    dropped = [1] if args["keepdim"] else step_dims
    space = math.prod(shape[d] for d in dims if d != axis)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        clip = builder.call(torch.stack, frames, 1)
        if node.target in _VARIANCES:
            reduced = _emit_variance(builder, node, clip, step_dims, (window, space))
        elif node.target is _ATEN.prod.dim_int:
            reduced = builder.call(_ATEN.prod.dim_int, clip, 1, True)
        elif "ord" in args:
            reduced = builder.call(target, clip, args["ord"], step_dims, True)
        else:
            reduced = builder.call(target, clip, step_dims, True)
        return builder.call(torch.squeeze, reduced, dropped)

    uses = window_uses(x, type_in, window, _FILLS[node.target])
    return Lowering(type_out, uses, emit, counts=node.target in _VARIANCES)


def _emit_variance(
    builder: Builder, node: fx.Node, clip: fx.Node, dims: list[int], sizes: tuple[int, int]
) -> fx.Node:
    """The variance of the elements inside the clip.

    Args:
        builder, node: the builder of the step graph, and the clip graph's operator.
        clip: (N, window, …), zero outside the clip.
        dims: the axes to reduce.
        sizes: elements of the window, and numbers per element that are reduced.
    """
    (window, space), rank = sizes, len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    real = builder.are_inside()
    count: Any = window * space
    ones = (1,) * (rank - 1)
    total = builder.call(torch.sum, clip, dims, True)
    if real is not None:
        present = builder.call(torch.reshape, builder.count_inside(), (-1, *ones))
        count = builder.call(torch.mul, present, space)
    deviations = builder.call(torch.sub, clip, builder.call(torch.div, total, count))
    if real is not None:
        mask = builder.call(torch.reshape, real, (-1, window, *ones[1:]))
        deviations = builder.call(torch.where, mask, deviations, 0.0)
    squares = builder.call(torch.sum, builder.call(torch.mul, deviations, deviations), dims, True)
    freedom = _degrees_of_freedom(builder, node, count)
    variance = builder.call(torch.div, squares, freedom)
    return builder.call(torch.sqrt, variance) if node.target in _DEVIATIONS else variance


def _degrees_of_freedom(builder: Builder, node: fx.Node, count: Any) -> Any:
    """The divisor of the sum of squares."""
    args = arguments(node)
    correction = args.get("correction", int(args.get("unbiased", True)))
    correction = 1 if correction is None else correction
    if isinstance(count, int):
        return float(max(count - correction, 0))
    return builder.call(torch.clamp_min, builder.call(torch.sub, count, correction), 0)
