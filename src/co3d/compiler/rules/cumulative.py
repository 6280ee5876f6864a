"""Cumulative operators over time: each is a recurrence of one operator."""

import operator
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.along_axes import lower_along_axes
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    arguments,
    rule,
)
from co3d.compiler.rules.scan import make_recurrent

_ATEN = torch.ops.aten


def running_maximum(x: Tensor, dim: int) -> Tensor:
    """Cumulative maximum along an axis, without indices. A clip -> clip operator."""
    return x.cummax(dim).values


def running_minimum(x: Tensor, dim: int) -> Tensor:
    """Cumulative minimum along an axis, without indices. A clip -> clip operator."""
    return x.cummin(dim).values


# Operator -> the function of an element and the result so far, the initial value, and the ATen
# operator for axes other than time.
_OPERATORS: dict[Any, tuple[Any, float, Any]] = {
    _ATEN.cumsum.default: (torch.add, 0.0, _ATEN.cumsum.default),
    _ATEN.cumprod.default: (torch.mul, 1.0, _ATEN.cumprod.default),
    running_maximum: (torch.maximum, float("-inf"), _ATEN.cummax.default),
    running_minimum: (_ATEN.minimum.default, float("inf"), _ATEN.cummin.default),
}


@rule(*_OPERATORS)
def lower_cumulative(ctx: Context, node: fx.Node) -> Lowering:
    """Over time a recurrence; along channels or space the same operator on each frame."""
    x: Any = node.args[0]
    type_in, dim = ctx.type_of(x), int(node.args[1]) % len(ctx.shape(x))  # type: ignore[arg-type]
    if dim == 0 or (dim == type_in.axis and type_in.is_pooled):
        raise UnsupportedError(
            "it accumulates over the batch, or over what a global pool has collapsed",
            "accumulate over time, channels or space",
        )
    if node.meta["val"].dtype != x.meta["val"].dtype:
        raise UnsupportedError(
            f"it makes {node.meta['val'].dtype} of {x.meta['val'].dtype}",
            "convert its input before (x.to(…))",
        )
    join_past, fill, other = _OPERATORS[node.target]
    if dim == type_in.axis:
        return make_recurrent(
            node, type_in, [Use(x)], fill, lambda b, f: b.call(join_past, f[0], f[1])
        )
    step_dim = type_in.drop_axis(dim)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        made = builder.call(other, frames[0], step_dim)
        return made if other is node.target else builder.call(operator.getitem, made, 0)

    return Lowering(type_in, [Use(x)], emit)


@rule(_ATEN.cummax.default, _ATEN.cummin.default)
def lower_extremum_with_positions(ctx: Context, node: fx.Node) -> Lowering:
    """Refuse a cumulative extremum over time whose indices are used; others were rewritten."""
    x: Any = node.args[0]
    if int(node.args[1]) % len(ctx.shape(x)) == ctx.type_of(x).axis:  # type: ignore[arg-type]
        raise UnsupportedError(
            "it returns the indices of the frames of a cumulative extremum",
            "use the extremum alone, its first result",
        )
    return lower_along_axes(ctx, node)


@rule(_ATEN.lstm.input, _ATEN.gru.input, _ATEN.rnn_tanh.input, _ATEN.rnn_relu.input)
def lower_refused_recurrence(_ctx: Context, node: fx.Node) -> Lowering:
    """Refuse layers that `write_recurrences` left: they have no step form."""
    if arguments(node)["bidirectional"]:
        raise UnsupportedError(
            "it runs from the clip's end backwards as well, so that each element depends on all "
            "frames to come",
            "use one direction (bidirectional=False), which steps reproduce exactly",
        )
    raise UnsupportedError(
        "its initial state is computed, or holds different numbers",
        "let it begin with zeros (pass no state)",
    )
