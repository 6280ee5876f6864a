"""Layers over a whole clip: flatten and linear layer, or a convolution with frames as channels.

In a stream they read the newest elements, as many as the clip had: their weights fix the number.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.global_pool import window_uses
from co3d.compiler.rules.registry import Builder, Context, Lowering
from co3d.compiler.temporal import TemporalType

Apply = Callable[[Builder, fx.Node, Tensor], fx.Node]


def lower_clip_mixing(
    ctx: Context, node: fx.Node, x: Any, weight: Tensor, apply: Apply, macs: int
) -> Lowering:
    """A layer whose weight (out, features, …) has time folded into its features.

        clip    (N, C·T)  · weight (K, C·T)
        step    T elements (N, C) concatenated, oldest first · weight (K, T·C)

    Args:
        ctx: the context of the analysis.
        node: the layer.
        x: its operand, with time in the features.
        weight: the layer's weight.
        apply: emits the layer, given the concatenated elements and the reordered weight.
        macs: multiply-accumulates of the layer for one clip.
    """
    type_in, shape = ctx.type_of(x), ctx.shape(x)
    window = type_in.count_elements(shape, ctx.batch)
    ctx.fix_window(node, window)
    reach = (window - 1) * type_in.stride
    type_out = type_in.collapse(None, reach, node.name)
    step_weight = _with_time_first(weight, type_in, window)
    step_axis = type_in.axis if type_in.is_merged else None

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        if step_axis is None:
            features = builder.call(torch.stack, frames, type_in.axis)
        else:
            features = frames[0] if len(frames) == 1 else builder.call(torch.cat, frames, step_axis)
        return apply(builder, features, step_weight)

    return Lowering(type_out, window_uses(x, type_in, window, 0.0), emit, macs)


def _with_time_first(weight: Tensor, type_in: TemporalType, window: int) -> Tensor:
    """(out, outer·T·inner, …) -> (out, T·outer·inner, …)."""
    unfolded = weight.unflatten(1, (type_in.outer, window, type_in.inner))
    return unfolded.transpose(1, 2).flatten(1, 3).contiguous()
