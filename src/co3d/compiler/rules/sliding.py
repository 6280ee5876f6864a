"""Statistics of the newest frames, for each frame: a stream's replacement for those of a clip."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.global_pool import divide_by_count, sum_elements, window_uses
from co3d.compiler.rules.registry import Builder, Context, Lowering, rule

# (builder, elements, window, number of axes without the batch) -> the statistic of the elements.
Emit = Callable[[Builder, list[fx.Node], int, int], fx.Node]


def sliding_mean(clip: Tensor, window: int) -> Tensor:
    """Mean over each frame and the `window - 1` before it, or fewer at the start.

    (N, C, T, …) -> the same shape. A clip -> clip operator that rewrites put into a graph.
    """
    total = clip.cumsum(2)
    total = total - torch.nn.functional.pad(
        total[:, :, : max(0, clip.shape[2] - window)],
        (0, 0) * (clip.dim() - 3) + (min(window, clip.shape[2]), 0),
    )
    count = torch.arange(1, clip.shape[2] + 1, device=clip.device).clamp(max=window)
    return total / count.reshape((-1,) + (1,) * (clip.dim() - 3)).to(clip.dtype)


def sliding_variance(clip: Tensor, window: int) -> Tensor:
    """Population variance of each frame and the `window - 1` before it, or fewer at the start.

    (N, C, T, …) -> the same shape. A clip -> clip operator that rewrites put into a graph.
    """
    padded = torch.nn.functional.pad(clip, (0, 0) * (clip.dim() - 3) + (window - 1, 0))
    newest = padded.unfold(2, window, 1)
    ages = torch.arange(window - 1, -1, -1, device=clip.device)
    exist = torch.arange(clip.shape[2], device=clip.device)[:, None] >= ages
    exist = exist.reshape(clip.shape[2], *(1,) * (clip.dim() - 3), window).to(clip.dtype)
    count = exist.sum(-1)
    mean = (newest * exist).sum(-1) / count
    return ((newest - mean.unsqueeze(-1)).square() * exist).sum(-1) / count


# Functions whose second argument is a window.
SLIDING = {sliding_mean, sliding_variance}


@rule(sliding_mean)
def lower_sliding_mean(ctx: Context, node: fx.Node) -> Lowering:
    """The mean of the newest elements."""

    def emit(builder: Builder, frames: list[fx.Node], window: int, axes: int) -> fx.Node:
        return divide_by_count(builder, sum_elements(builder, frames), window, axes)

    return _lower_statistic(ctx, node, emit)


@rule(sliding_variance)
def lower_sliding_variance(ctx: Context, node: fx.Node) -> Lowering:
    """The variance of the newest elements."""

    def emit(builder: Builder, frames: list[fx.Node], window: int, axes: int) -> fx.Node:
        mean = divide_by_count(builder, sum_elements(builder, frames), window, axes)
        clip = builder.call(torch.stack, frames, 1)
        deviations = builder.call(torch.sub, clip, builder.call(torch.unsqueeze, mean, 1))
        inside = builder.are_inside()
        if inside is not None:
            mask = builder.call(torch.reshape, inside, (-1, window) + (1,) * axes)
            deviations = builder.call(torch.where, mask, deviations, 0.0)
        total = builder.call(torch.sum, builder.call(torch.mul, deviations, deviations), 1)
        return divide_by_count(builder, total, window, axes)

    return _lower_statistic(ctx, node, emit)


def _lower_statistic(ctx: Context, node: fx.Node, emit: Emit) -> Lowering:
    x: Any = node.args[0]
    window: Any = node.args[1]
    type_in = ctx.type_of(x)
    reach = (window - 1) * type_in.stride
    type_out = replace(type_in, lookback=type_in.lookback + reach, pools=())
    axes = len(type_in.row_shape(ctx.shape(x)))
    uses = window_uses(x, type_in, window, 0.0)
    return Lowering(type_out, uses, lambda b, f: emit(b, f, window, axes), counts=True)
