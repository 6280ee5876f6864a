"""The newest elements, for each frame: the keys and values of attention over a clip in a stream."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.compiler.rules.global_pool import window_uses
from co3d.compiler.rules.registry import Builder, Context, Lowering, rule
from co3d.compiler.temporal import TemporalType

_ATEN = torch.ops.aten


def newest_elements(clip: Tensor, window: int, axis: int, inner: int) -> Tensor:
    """Each element and the `window - 1` before it, the oldest first; zeros where there are none.

    A clip -> clip operator that rewrites put into a graph.

    Args:
        clip: (N, …, T·inner, …), with time at `axis`.
        window: number of elements.
        axis: the time axis; not 0.
        inner: size of the axes that are folded into it after time.

    Returns:
        (N, T, …, window·inner, …), with the window at `axis` + 1.
    """
    elements = clip.unflatten(axis, (-1, inner)).movedim(axis, 1)
    padded = F.pad(elements, (0, 0) * (elements.dim() - 2) + (window - 1, 0))
    newest = padded.unfold(1, window, 1).movedim(-1, axis + 1)
    return newest.flatten(axis + 1, axis + 2)


def newest_exist(clip: Tensor, window: int, axis: int, inner: int) -> Tensor:
    """Which of `newest_elements` exist: (N, T, window·inner) bool.

    A clip -> clip operator that rewrites put into a graph.
    """
    frames = clip.shape[axis] // inner
    ages = torch.arange(window - 1, -1, -1, device=clip.device).repeat_interleave(inner)
    exist = torch.arange(frames, device=clip.device)[:, None] >= ages
    return exist.expand(clip.shape[0], -1, -1)


# Functions whose second argument is a window.
NEWEST = {newest_elements, newest_exist}


@rule(newest_elements, fold_aware=True)
def lower_newest_elements(ctx: Context, node: fx.Node) -> Lowering:
    """The newest elements, concatenated or stacked."""
    x: Any = node.args[0]
    type_in = ctx.type_of(x)
    axis = type_in.axis
    assert axis

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        join = torch.cat if type_in.is_merged else torch.stack
        return builder.call(join, frames, axis)

    type_out, uses = _plan_window(node, type_in)
    return Lowering(type_out, uses, emit)


@rule(newest_exist, fold_aware=True)
def lower_newest_exist(ctx: Context, node: fx.Node) -> Lowering:
    """Which reads lie inside the clip; always the newest, so that there is at least one."""
    window, inner = int(node.args[1]), int(node.args[3])  # type: ignore[arg-type]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        inside = builder.are_inside()
        rows = builder.call(_ATEN.sym_size.int, frames[0], 0)
        if inside is None:
            all_inside = builder.constant(torch.ones(1, window * inner, dtype=torch.bool))
            return builder.call(_ATEN.expand.default, all_inside, [rows, -1])
        newest = torch.arange(window).unsqueeze(0) == window - 1
        inside = builder.call(torch.logical_or, inside, builder.constant(newest))
        if inner == 1:
            return inside
        inside = builder.call(torch.unsqueeze, inside, 2)
        inside = builder.call(_ATEN.expand.default, inside, [-1, -1, inner])
        return builder.call(torch.reshape, inside, (-1, window * inner))

    type_out, uses = _plan_window(node, ctx.type_of(node.args[0]))  # type: ignore[arg-type]
    return Lowering(type_out, uses, emit, counts=True)


def _plan_window(node: fx.Node, type_in: TemporalType) -> tuple[TemporalType, list[Any]]:
    x: Any = node.args[0]
    window: Any = node.args[1]
    reach = (window - 1) * type_in.stride
    type_out = replace(type_in.laid_out(1, 1, 1, type_in.rows), lookback=type_in.lookback + reach)
    return type_out, window_uses(x, type_in, window, 0.0)
