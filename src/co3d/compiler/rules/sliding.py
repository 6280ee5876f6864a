"""The mean over the newest frames, once per frame: what a gate over a clip becomes in a stream."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.rules.global_pool import divide_by_count, sum_elements, window_uses
from co3d.compiler.rules.registry import Builder, Context, Lowering, rule


def sliding_mean(clip: Tensor, window: int) -> Tensor:
    """Mean over each frame and the `window - 1` before it; over those that exist, at the start.

    (N, C, T, …) -> the same shape. A clip -> clip operator that rewrites put into a graph.
    """
    total = clip.cumsum(2)
    total = total - torch.nn.functional.pad(
        total[:, :, : max(0, clip.shape[2] - window)],
        (0, 0) * (clip.dim() - 3) + (min(window, clip.shape[2]), 0),
    )
    count = torch.arange(1, clip.shape[2] + 1, device=clip.device).clamp(max=window)
    return total / count.reshape((-1,) + (1,) * (clip.dim() - 3)).to(clip.dtype)


@rule(sliding_mean)
def lower_sliding_mean(ctx: Context, node: fx.Node) -> Lowering:
    """The mean of the newest elements."""
    x: Any = node.args[0]
    window: Any = node.args[1]
    type_in = ctx.type_of(x)
    reach = (window - 1) * type_in.stride
    type_out = replace(type_in, lookback=type_in.lookback + reach, pools=())
    axes = len(type_in.row_shape(ctx.shape(x)))

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        return divide_by_count(builder, sum_elements(builder, frames), window, axes)

    return Lowering(type_out, window_uses(x, type_in, window, 0.0), emit, counts=True)
