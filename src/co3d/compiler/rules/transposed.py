"""Transposed convolutions: they enlarge space; along time they are convolutions in mirror image."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    rule,
)
from co3d.compiler.rules.windows import clip_input, per_axis, temporal_uses

_ATEN = torch.ops.aten


@rule(_ATEN.conv_transpose3d.input)
def lower_conv_transpose3d(ctx: Context, node: fx.Node) -> Lowering:
    """Without a stride in time, output t adds up w[m] · x[t + p - m·d]: taps in reverse order."""
    args = arguments(node)
    x = args["input"]
    weight, bias = ctx.tensor(args["weight"]), ctx.tensor(args["bias"])
    assert weight is not None
    stride, pads = per_axis(args["stride"], 3), per_axis(args["padding"], 3)
    dilation, extra = per_axis(args["dilation"], 3), per_axis(args["output_padding"], 3)
    if stride[0] > 1:
        raise UnsupportedError(
            f"it makes {stride[0]} frames of every frame, more than a stream has steps",
            "enlarge space only: stride (1, 2, 2)",
        )
    kernel = weight.shape[2]
    pad = (kernel - 1) * dilation[0] - pads[0]
    type_in = clip_input(ctx, x, kernel)
    type_out = type_in.slide(kernel, 1, dilation[0], pad, pad + extra[0])
    uses = temporal_uses(x, type_in, type_out, kernel, dilation[0], pad, fill=0.0)
    taps = [weight[:, :, kernel - 1 - tap].contiguous() for tap in range(kernel)]
    options: dict[str, Any] = {
        "stride": stride[1:],
        "padding": pads[1:],
        "output_padding": extra[1:],
        "groups": args["groups"],
        "dilation": dilation[1:],
    }

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total: fx.Node | None = None
        for frame, tap in zip(frames, taps, strict=True):
            shift = builder.constant(bias) if bias is not None and total is None else None
            part = builder.call(F.conv_transpose2d, frame, builder.constant(tap), shift, **options)
            total = part if total is None else builder.call(torch.add, total, part)
        assert total is not None
        return total

    # Every input element meets every weight of its channel.
    macs = weight[0].numel() * ctx.frame_elements(type_in, ctx.shape(x))
    return Lowering(type_out, uses, emit, macs)
