"""Converts between layouts in which axes are folded and those of states and clips."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from co3d.compiler.rules.registry import Builder
from co3d.compiler.temporal import TemporalType


def emit_rows_unfolded(
    builder: Builder, value: fx.Node, type_: TemporalType, clip_shape: tuple[int, ...]
) -> fx.Node:
    """(N·rows, …) -> (N, rows, …), the layout of states; unchanged for one row per stream."""
    if type_.step_rows == 1:
        return value
    return builder.call(torch.reshape, value, (-1, *type_.frame_shape(clip_shape)))


def emit_rows_folded(
    builder: Builder, value: fx.Node, type_: TemporalType, clip_shape: tuple[int, ...]
) -> fx.Node:
    """(N, rows, …) -> (N·rows, …), the layout of operators; unchanged for one row per stream."""
    if type_.step_rows == 1:
        return value
    return builder.call(torch.reshape, value, (-1, *type_.row_shape(clip_shape)))


def emit_clip(
    builder: Builder, elements: list[fx.Node], type_: TemporalType, clip_shape: tuple[int, ...]
) -> fx.Node:
    """Join elements of the step graph to the clip value."""
    axis = type_.axis
    assert axis is not None
    if not type_.is_folded and not type_.is_merged:
        return builder.call(torch.stack, elements, axis)
    sizes = type_.row_shape(clip_shape)
    at = max(axis - 1, 0)
    apart = (*sizes[:at], type_.outer, type_.inner, *sizes[at + 1 :])
    joined = (*sizes[:at], type_.outer * len(elements) * type_.inner, *sizes[at + 1 :])
    if type_.is_folded:  # the batch is outside of all
        apart, joined = (type_.inner, *sizes), sizes
    split = [builder.call(torch.reshape, element, (-1, *apart)) for element in elements]
    stacked = builder.call(torch.stack, split, 1 if type_.is_folded else axis + 1)
    return builder.call(torch.reshape, stacked, (-1, *joined))


def split_clip(value: Tensor, type_: TemporalType, batch: int) -> Sequence[Tensor]:
    """Split a clip value to its elements, in the layout of states: (batch, [rows], …)."""
    axis = type_.axis
    assert axis is not None
    frames = type_.count_elements(tuple(value.shape), batch)
    shape = tuple(value.shape)
    streams = batch if type_.is_folded else 1
    apart = (*shape[:axis], streams * type_.outer, frames, type_.inner, *shape[axis + 1 :])
    elements = value.reshape(apart).unbind(axis + 1)
    return [element.reshape(batch, *type_.frame_shape(shape)) for element in elements]
