"""Operators along named axes: without time among them they act within each frame."""

from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.pointwise import join_operands
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    rule,
)
from co3d.compiler.rules.shape import require_batch

_ATEN = torch.ops.aten
_NAMES = ("dims", "dim", "dimension")


@rule(
    _ATEN.all.dim,
    _ATEN.all.dims,
    _ATEN.any.dim,
    _ATEN.any.dims,
    _ATEN.aminmax.default,
    _ATEN.argmax.default,
    _ATEN.argmin.default,
    _ATEN.argsort.default,
    _ATEN.argsort.stable,
    _ATEN.count_nonzero.dim_IntList,
    _ATEN.gather.default,
    _ATEN.kthvalue.default,
    _ATEN.linalg_cross.default,
    _ATEN.logcumsumexp.default,
    _ATEN.max.dim,
    _ATEN.median.dim,
    _ATEN.min.dim,
    _ATEN.mode.default,
    _ATEN.nanmean.default,
    _ATEN.nanmedian.dim,
    _ATEN.nansum.default,
    _ATEN.roll.default,
    _ATEN.scatter.src,
    _ATEN.scatter_add.default,
    _ATEN.sort.default,
    _ATEN.sort.stable,
    _ATEN.topk.default,
    _ATEN.unfold.default,
)
def lower_along_axes(ctx: Context, node: fx.Node) -> Lowering:
    """The same operator along the same axes of a frame, or of a frame of each operand."""
    args = arguments(node)
    name = next(name for name in _NAMES if name in args)
    operands = [n for n in node.all_input_nodes if ctx.is_temporal(n)]
    rank = len(ctx.shape(operands[0]))
    named = args[name]
    if named is None or named == []:
        raise UnsupportedError("it acts along all axes at once", "name the axes, without time")
    if len(operands) < len(node.all_input_nodes):
        raise UnsupportedError("one of its operands is a constant", "compute it from the clip")
    if any(len(ctx.shape(operand)) != rank for operand in operands):
        raise UnsupportedError("its operands have unlike axes", "give them the same axes")
    dims = [dim % rank for dim in (named if isinstance(named, (list, tuple)) else [named])]
    require_batch(0 not in dims)
    type_out, uses = join_operands(ctx, operands, rank)
    axis = type_out.axis
    if axis in dims:
        raise UnsupportedError("it acts along time", "let it act along channels or space")
    step_dims = [type_out.drop_axis(dim) for dim in dims]
    chosen = step_dims if isinstance(named, (list, tuple)) else step_dims[0]
    is_dropped = _rank(node) == rank - len(dims)
    if axis is not None and is_dropped:
        type_out = type_out.at_axis(axis - sum(dim < axis for dim in dims))

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        values: Any = dict(zip(operands, frames, strict=True))
        first, *rest = {**args, name: chosen}.items()
        options = {
            key: values.get(value, value) if _is_node(value) else value for key, value in rest
        }
        target: Any = node.target
        return builder.call(target, values[first[1]], **options)

    return Lowering(type_out, uses, emit)


def _rank(node: fx.Node) -> int:
    value = node.meta["val"]
    return (value if isinstance(value, Tensor) else value[0]).dim()


def _is_node(value: Any) -> bool:
    return isinstance(value, fx.Node)
