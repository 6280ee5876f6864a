"""Convolutions: the last frames of the input, one 2-D convolution."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.stream.rules.registry import (
    Builder,
    Context,
    Lowering,
    arguments,
    rule,
)
from co3d.stream.rules.windows import clip_input, temporal_uses, triple

_ATEN = torch.ops.aten
Emit = Callable[[Builder, list[fx.Node]], fx.Node]


@rule(_ATEN.conv3d.default, _ATEN.conv3d.padding)
def lower_conv3d(ctx: Context, node: fx.Node) -> Lowering:
    """Temporal kernel kt: read kt frames, dilated in time, and convolve them in space.

    kernel 3, padding 1, dilation 1, at tick n:      frame n-2  n-1   n
                                                       w0     w1    w2   -> output of frame n-1
    """
    args = arguments(node, "input", "weight", "bias", "stride", "padding", "dilation", "groups")
    x = args["input"]
    weight, bias = ctx.tensor(args["weight"]), ctx.tensor(args["bias"])
    assert weight is not None
    kernel = tuple(weight.shape[2:])
    stride, dilation = triple(args["stride"]), triple(args["dilation"])
    pads = _padding(args["padding"], kernel, dilation)
    type_in = clip_input(ctx, x, kernel[0])
    type_out = type_in.slide(kernel[0], stride[0], dilation[0], *pads[0])
    uses = temporal_uses(x, type_in, type_out, kernel[0], dilation[0], pads[0][0], fill=0.0)
    (top, bottom), (left, right) = pads[1:]
    # conv2d pads alike on both sides; even kernels with padding="same" do not.
    uneven = None if top == bottom and left == right else (left, right, top, bottom)
    options = {
        "stride": stride[1:],
        "padding": (0, 0) if uneven else (top, left),
        "dilation": dilation[1:],
        "groups": args["groups"],
    }
    if kernel == (1, 1, 1) and ctx.shape(x)[3:] == (1, 1) and args["groups"] == 1:
        join_taps = _plan_linear(weight.flatten(1), bias)
    else:
        join_taps = _plan_taps(weight, bias, options)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        if uneven:
            frames = [builder.call(F.pad, frame, uneven) for frame in frames]
        return join_taps(builder, frames)

    outputs = ctx.elements_without(ctx.shape(node), type_out.axis)
    macs = weight.numel() // weight.shape[0] * outputs
    return Lowering(type_out, uses, emit, macs)


def _plan_taps(weight: Tensor, bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """How the taps are joined: concatenated where the convolution is dense, else summed.

    A grouped convolution over concatenated frames would have to interleave the frames of every
    group; a sum of grouped convolutions moves less memory.
    """
    if weight.shape[2] == 1:
        return _plan_concatenation(_channels_last(weight[:, :, 0]), bias, options)
    if options["groups"] == 1:
        flat = _channels_last(weight.permute(0, 2, 1, 3, 4).flatten(1, 2))
        return _plan_concatenation(flat, bias, options)
    taps = [_channels_last(weight[:, :, tap]) for tap in range(weight.shape[2])]
    only_scales = tuple(taps[0].shape[1:]) == (1, 1, 1) and taps[0].shape[0] == options["groups"]
    if only_scales and options["stride"] == (1, 1) and options["padding"] == (0, 0):
        return _plan_scaled_sum(taps, bias)
    return _plan_sum(taps, bias, options)


def _channels_last(weight: Tensor) -> Tensor:
    """The layout in which CPU and GPU kernels convolve without reordering."""
    return weight.contiguous(memory_format=torch.channels_last)


def _plan_linear(weight: Tensor, bias: Tensor | None) -> Emit:
    """A pointwise convolution of a single position (a gate's, a head's) is a linear layer."""

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        shift = None if bias is None else builder.constant(bias)
        vector = builder.call(torch.flatten, frames[0], 1)
        result = builder.call(F.linear, vector, builder.constant(weight), shift)
        return builder.call(torch.reshape, result, (-1, weight.shape[0], 1, 1))

    return emit


def _plan_concatenation(flat: Tensor, bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """One 2-D convolution over the frames side by side."""

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        joined = frames[0] if len(frames) == 1 else builder.call(torch.cat, frames, 1)
        shift = None if bias is None else builder.constant(bias)
        return builder.call(F.conv2d, joined, builder.constant(flat), shift, **options)

    return emit


def _plan_sum(taps: list[Tensor], bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """One 2-D convolution per frame, added up."""

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total: fx.Node | None = None
        for frame, tap in zip(frames, taps, strict=True):
            # The bias goes in once, with the first tap.
            shift = builder.constant(bias) if bias is not None and total is None else None
            part = builder.call(F.conv2d, frame, builder.constant(tap), shift, **options)
            total = part if total is None else builder.call(torch.add, total, part)
        assert total is not None
        return total

    return emit


def _plan_scaled_sum(taps: list[Tensor], bias: Tensor | None) -> Emit:
    """A depthwise convolution of temporal extent only: every tap scales the channels."""
    scales = [tap.reshape(1, -1, 1, 1) for tap in taps]
    shift = None if bias is None else bias.view(1, -1, 1, 1)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total = builder.call(torch.mul, frames[0], builder.constant(scales[0]))
        if shift is not None:
            total = builder.call(torch.add, total, builder.constant(shift))
        for frame, scale in zip(frames[1:], scales[1:], strict=True):
            total = builder.call(torch.addcmul, total, frame, builder.constant(scale))
        return total

    return emit


def _padding(
    padding: str | Sequence[int], kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Padding before and after, per axis (time, height, width)."""
    if isinstance(padding, str):
        if padding == "valid":
            return [(0, 0)] * 3
        # "same": torch puts the odd element of an even kernel's padding at the end.
        totals = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in triple(padding)]
