"""The sum of a convolution's taps in time, for convolutions split by `convolve_space_first`."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.compiler.rules.registry import Builder, Context, Lowering, rule
from co3d.compiler.rules.windows import temporal_uses


def sum_taps(taps: Sequence[Tensor], padding: int, dilation: int) -> Tensor:
    """Output i is the sum over taps m of their elements i - padding + m·dilation.

    (N, C, T, H, W) each -> (N, C, T + 2·padding - (taps - 1)·dilation, H, W). Elements outside of
    the clip are zero. A clip -> clip operator that passes put into a graph.
    """
    frames = taps[0].shape[2] + 2 * padding - (len(taps) - 1) * dilation
    padded = [F.pad(tap, (0, 0, 0, 0, padding, padding)) for tap in taps]
    parts = [tap.narrow(2, m * dilation, frames) for m, tap in enumerate(padded)]
    return sum(parts[1:], parts[0])


@rule(sum_taps)
def lower_sum_taps(ctx: Context, node: fx.Node) -> Lowering:
    """Read each tap at the age of its frame.

    kernel 3, padding 1, dilation 1, at tick n:   tap 0 of frame n-2, tap 1 of frame n-1,
                                                  tap 2 of frame n   -> output of frame n-1
    """
    taps: Any
    padding: Any
    dilation: Any
    taps, padding, dilation = node.args
    types = [ctx.type_of(tap) for tap in taps]
    # With `spread` taps may be made at different ticks.
    latest = max(types, key=lambda type_: type_.delay)
    type_out = latest.slide(len(taps), 1, dilation, padding, padding)
    uses = [
        temporal_uses(tap, type_, type_out, len(taps), dilation, padding, fill=0.0)[m]
        for m, (tap, type_) in enumerate(zip(taps, types, strict=True))
    ]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total = frames[-1]
        for frame in reversed(frames[:-1]):
            total = builder.call(torch.add, total, frame)
        return total

    return Lowering(type_out, uses, emit)
