"""Transposed convolutions, which enlarge space, and time up to the strides before it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.compiler.rules.conv import Emit, plan_taps, plan_vectors
from co3d.compiler.rules.interleave import interleave, stretch_input, use_at
from co3d.compiler.rules.registry import Builder, Context, Lowering, arguments, rule
from co3d.compiler.rules.windows import per_axis

_ATEN = torch.ops.aten
_CONVOLVE: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d}


TRANSPOSED = (
    _ATEN.conv_transpose1d.default,
    _ATEN.conv_transpose2d.input,
    _ATEN.conv_transpose3d.input,
)


@rule(*TRANSPOSED)
def lower_conv_transpose(ctx: Context, node: fx.Node) -> Lowering:
    """Output t is the sum of w[m] · x[(t + p - m·d) / s] over the taps m with a whole index.

    kernel 4, stride 2, padding 1:     y0 = w3 x-1 + w1 x0      y1 = w2 x0 + w0 x1
                                       y2 = w3 x0  + w1 x1      y3 = w2 x1 + w0 x2
    """
    args = arguments(node)
    x = args["input"]
    weight, bias = ctx.tensor(args["weight"]), ctx.tensor(args["bias"])
    assert weight is not None
    axes = weight.dim() - 2
    stride, pads = per_axis(args["stride"], axes), per_axis(args["padding"], axes)
    dilation, extra = per_axis(args["dilation"], axes), per_axis(args["output_padding"], axes)
    kernel, ratio = weight.shape[2], stride[0]
    stretched = stretch_input(ctx, x, ratio)
    pad = (kernel - 1) * dilation[0] - pads[0]
    type_out = stretched.slide(kernel, 1, dilation[0], pad, pad + extra[0])
    # Every input element is multiplied by every weight of its channel.
    macs = weight[0, :, 0].numel() * ctx.frame_elements(ctx.type_of(x), ctx.shape(x))
    options: dict[str, Any] = {
        "stride": stride[1:],
        "padding": pads[1:],
        "output_padding": extra[1:],
        "groups": args["groups"],
        "dilation": dilation[1:],
    }

    def make(variant: int) -> Lowering:
        # The oldest element, which the last tap multiplies, comes first.
        offsets = {m: pads[0] - m * dilation[0] for m in reversed(range(kernel))}
        read = {m: offset for m, offset in offsets.items() if (variant + offset) % ratio == 0}
        if read:
            taps = weight[:, :, list(read)]
        else:  # an output between elements that no tap reaches
            read, taps = {0: -variant}, torch.zeros_like(weight[:, :, :1])
        uses = [use_at(x, stretched, type_out, offset, 0.0) for offset in read.values()]
        return Lowering(type_out, uses, _plan(taps, bias, options), macs * len(read))

    return interleave(type_out, ratio, make)


def _plan(weight: Tensor, bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """The function that emits the taps (C_in, C_out / groups, K, …), oldest first."""
    groups, dilation = options["groups"], options["dilation"]
    size = weight.shape[3:]
    pads = [d * (k - 1) - p for k, d, p in zip(size, dilation, options["padding"], strict=True)]
    if (
        set(options["stride"]) <= {1}
        and not any(options["output_padding"])
        and min(pads, default=0) >= 0
    ):
        # A convolution with flipped kernel, which more backends support and run faster.
        unfolded = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        mirrored = unfolded.flip(list(range(3, unfolded.dim())))
        if not size:
            return plan_vectors(mirrored, bias, groups)
        plain = {"stride": options["stride"], "padding": tuple(pads), "dilation": dilation}
        return plan_taps(mirrored, bias, {**plain, "groups": groups})
    convolve = _CONVOLVE[len(size)]
    taps = [weight[:, :, tap].contiguous() for tap in range(weight.shape[2])]
    if groups == 1:
        taps = [torch.cat(taps)]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        if groups == 1 and len(frames) > 1:
            frames = [builder.call(torch.cat, frames, 1)]
        total: fx.Node | None = None
        for frame, tap in zip(frames, taps, strict=True):
            # The bias is added once, with the first tap.
            shift = builder.constant(bias) if bias is not None and total is None else None
            part = builder.call(convolve, frame, builder.constant(tap), shift, **options)
            total = part if total is None else builder.call(torch.add, total, part)
        assert total is not None
        return total

    return emit
