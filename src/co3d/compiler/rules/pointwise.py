"""Element-wise operators: the same operator on one frame, with delays aligned."""

from dataclasses import replace
from typing import Any

import torch
from torch import fx

from co3d.compiler.rules.registry import (
    GATE_PER_FRAME,
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    Use,
    rule,
)
from co3d.compiler.temporal import TemporalType, join, join_pooled

_ATEN = torch.ops.aten

# torch tags most element-wise operators as pointwise, and `find_rule` sends them here; these lack
# the tag.
_UNTAGGED = (
    _ATEN.hardswish.default,
    _ATEN.log_sigmoid.default,
    _ATEN.floor_divide.default,
    _ATEN._to_copy.default,
    _ATEN.zeros_like.default,
    _ATEN.ones_like.default,
    _ATEN.full_like.default,
)


@rule(_ATEN.add.Tensor, *_UNTAGGED, fold_aware=True)
def lower_pointwise(ctx: Context, node: fx.Node) -> Lowering:
    """Apply the operator to one frame of each operand.

    An operand that is ready earlier waits in a delay line:

        shortcut (d=0)   x[n-1] ──┐
        branch   (d=1)   f(x)[n] ─┴─ add: both describe frame n-1
    """
    rank = len(ctx.shape(node))
    operands = [n for n in node.all_input_nodes if ctx.is_temporal(n)]
    type_out, uses = join_operands(ctx, operands, rank)
    _check_constants(ctx, node, type_out.axis)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        values = dict(zip(operands, frames, strict=True))

        def find(argument: fx.Node) -> fx.Node:
            if argument in values:
                return values[argument]
            axis = None if type_out.is_merged else type_out.axis
            return _emit_constant(ctx, builder, argument, rank, axis)

        args, kwargs = fx.map_arg((node.args, node.kwargs), find)  # type: ignore[arg-type]
        return builder.call(node.target, *args, **kwargs)  # type: ignore[arg-type, misc]

    return Lowering(type_out, uses, emit)


def join_operands(
    ctx: Context, operands: list[Any], rank: int, places: list[int | None] | None = None
) -> tuple[TemporalType, list[Use]]:
    """The type of a combination of values, and when each of them is read.

    Args:
        ctx: the context of the analysis.
        operands: the values.
        rank: number of axes of the combination.
        places: time axis of each operand in the combination; by default as in broadcasting.
    """
    types = [ctx.type_of(operand) for operand in operands]
    if places is None:
        places = [
            None if t.axis is None else t.axis + rank - len(ctx.shape(operand))
            for t, operand in zip(types, operands, strict=True)
        ]
    axes, moving = set(places), types
    if len({t.is_pooled for t in types}) > 1:
        # A gate: the result of a global pool is combined with frames. A rewrite replaces the pool,
        # and aligns its time axis with the frames'.
        ctx.gates.update(name for t in types for name in t.pools)
        axes = {axis for t, axis in zip(types, places, strict=True) if not t.is_pooled}
        moving = [t for t in types if not t.is_pooled]
        types = [replace(t, pools=()) for t in types]
    if len(axes) > 1:
        raise UnsupportedError(
            f"its operands have time at different axes: {sorted(map(str, axes))}",
            "permute or view them alike",
        )
    counts = set()
    for operand in operands:
        t = ctx.type_of(operand)
        if not (t.is_pooled or t.recomputed or t.axis is None or GATE_PER_FRAME in operand.meta):
            counts.add(t.count_elements(ctx.shape(operand), ctx.batch))
    if len(counts) > 1:
        raise UnsupportedError(
            f"its operands have {' and '.join(map(str, sorted(counts)))} elements of time, so that "
            "one would be broadcast to the frames of another",
            "give all operands as many frames, or pool over time the one that all frames share",
        )
    folds = {(t.outer, t.inner, t.rows) for t in moving}
    if len(folds) > 1:
        raise UnsupportedError(
            "its operands have other axes folded into time or into the batch in different ways",
            "view them alike",
        )
    if types[0].is_pooled:
        joined = join_pooled(types, ctx.clip_frames)
        ready = joined.last_position(ctx.clip_frames) + joined.delay
        backs = [ready - t.last_position(ctx.clip_frames) - t.delay for t in types]
    elif len({t.stride for t in types}) > 1:
        raise UnsupportedError(
            f"its operands have temporal strides {sorted({t.stride for t in types})}",
            "bring all paths to one frame rate before they meet",
        )
    else:
        joined = join(types)
        backs = [joined.delay - t.delay for t in types]
    uses = [Use(operand, back) for operand, back in zip(operands, backs, strict=True)]
    return joined.laid_out(axes.pop(), *folds.pop()), uses


def _emit_constant(
    ctx: Context, builder: Builder, node: fx.Node, rank: int, axis: int | None
) -> fx.Node:
    """Emit a constant operand without the time axis, along which it must not vary."""
    tensor = ctx.tensor(node)
    assert tensor is not None
    position = -1 if not axis else axis - (rank - tensor.dim())
    if position >= 0:
        tensor = tensor.squeeze(position)
    return builder.constant(tensor)


def _check_constants(ctx: Context, node: fx.Node, axis: int | None) -> None:
    """Raise UnsupportedError if a constant operand varies along time (a positional embedding)."""
    rank = len(ctx.shape(node))
    for argument in node.all_input_nodes:
        if ctx.is_temporal(argument):
            continue
        shape = ctx.shape(argument)
        if len(shape) == rank and shape[0] > 1:
            raise UnsupportedError(
                f"its constant of shape {shape} has one value per row of the batch",
                "use one value for all streams",
            )
        position = -1 if axis is None else axis - (rank - len(shape))
        if position >= 0 and shape[position] > 1:
            raise UnsupportedError(
                f"its constant of shape {shape} has one value per frame of the clip",
                "a stream has no fixed position in a clip: use one value for all frames",
            )
