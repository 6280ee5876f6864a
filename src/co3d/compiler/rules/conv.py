"""Convolutions: a convolution in space over the newest frames of the input."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.compiler.macs import count_macs
from co3d.compiler.rules.clip_mixing import lower_clip_mixing
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    rule,
)
from co3d.compiler.rules.windows import clip_input, per_axis, temporal_uses, time_first

_ATEN = torch.ops.aten
CONVOLUTIONS = (
    _ATEN.conv1d.default,
    _ATEN.conv1d.padding,
    _ATEN.conv2d.default,
    _ATEN.conv2d.padding,
    _ATEN.conv3d.default,
    _ATEN.conv3d.padding,
)
Emit = Callable[[Builder, list[fx.Node]], fx.Node]
# Number of spatial axes -> convolution. A convolution of (N, C, T) uses one axis of size 1.
_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d}
_LAYOUT = {1: torch.contiguous_format, 2: torch.channels_last}


@rule(*CONVOLUTIONS, fold_aware=True)
def lower_conv(ctx: Context, node: fx.Node) -> Lowering:
    """Temporal kernel kt: read kt frames, dilated in time, and convolve them in space.

    kernel 3, padding 1, dilation 1, at tick n:      frame n-2  n-1   n
                                                       w0     w1    w2   -> output of frame n-1
    """
    args = arguments(node, "input", "weight", "bias", "stride", "padding", "dilation", "groups")
    x = args["input"]
    weight, bias = ctx.tensor(args["weight"]), ctx.tensor(args["bias"])
    assert weight is not None
    type_x = ctx.type_of(x) if ctx.is_temporal(x) else None
    if type_x is not None and type_x.axis == 1 and not type_x.is_pooled:
        return _lower_frames_as_channels(ctx, node, weight)
    axes = weight.dim() - 2
    place, order = time_first(ctx, x, axes)
    stride, dilation = per_axis(args["stride"], axes), per_axis(args["dilation"], axes)
    pads = _padding(args["padding"], tuple(weight.shape[2:]), dilation)
    if place != 2:
        weight = weight.movedim(place, 2)
        stride, dilation = ([given[d] for d in order] for given in (stride, dilation))
        pads = [pads[d] for d in order]
    kernel = tuple(weight.shape[2:])
    type_in = clip_input(ctx, x, kernel[0], place)
    type_out = type_in.slide(kernel[0], stride[0], dilation[0], *pads[0])
    uses = temporal_uses(x, type_in, type_out, kernel[0], dilation[0], pads[0][0], fill=0.0)
    macs = weight[0].numel() * ctx.frame_elements(type_out, ctx.shape(node))
    if axes == 1:
        return Lowering(type_out, uses, plan_vectors(weight, bias, args["groups"]), macs)
    # Convolutions pad both sides equally, but even kernels with padding="same" do not.
    uneven = [p for pad in reversed(pads[1:]) for p in pad]
    if all(start == end for start, end in pads[1:]):
        uneven = []
    options = {
        "stride": stride[1:],
        "padding": (0,) * (axes - 1) if uneven else tuple(start for start, _ in pads[1:]),
        "dilation": dilation[1:],
        "groups": args["groups"],
    }
    is_vector = kernel == (1, 1, 1) and type_in.row_shape(ctx.shape(x))[1:] == (1, 1)
    if is_vector and args["groups"] == 1:
        join_taps = _plan_linear(weight.flatten(1), bias)
    else:
        join_taps = plan_taps(weight, bias, options)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        if uneven:
            frames = [builder.call(F.pad, frame, uneven) for frame in frames]
        return join_taps(builder, frames)

    return Lowering(type_out, uses, emit, macs)


def _lower_frames_as_channels(ctx: Context, node: fx.Node, weight: Tensor) -> Lowering:
    """A convolution in space whose channels are the frames of a clip: (N, T·C, H, W)."""
    args = arguments(node)
    if args["groups"] != 1:
        raise UnsupportedError(
            f"it convolves the frames of a clip as channels, in {args['groups']} groups",
            "keep time and channels in axes of their own: (N, C, T, H, W)",
        )

    def apply(builder: Builder, features: fx.Node, own: Tensor) -> fx.Node:
        rest = {**args, "input": features, "weight": builder.constant(own)}
        bias = ctx.tensor(args["bias"])
        rest["bias"] = None if bias is None else builder.constant(bias)
        return builder.call(node.target, *rest.values())  # type: ignore[arg-type]

    return lower_clip_mixing(ctx, node, args["input"], weight, apply, count_macs(node) // ctx.batch)


def plan_taps(weight: Tensor, bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """Emit the taps: one convolution over concatenated frames if it is dense, else a sum.

    A grouped convolution over concatenated frames would have to interleave the frames of every
    group; a sum of grouped convolutions moves less memory.
    """
    taps = [_laid_out(weight[:, :, tap]) for tap in range(weight.shape[2])]
    if len(taps) == 1:
        return _plan_concatenation(taps[0], bias, options)
    if options["groups"] == 1:
        return _plan_concatenation(_laid_out(torch.cat(taps, 1)), bias, options)
    only_scales = taps[0][0].numel() == 1 and taps[0].shape[0] == options["groups"]
    if only_scales and set(options["stride"]) == {1} and not any(options["padding"]):
        return _plan_scaled_sum(taps, bias)
    return _plan_sum(taps, bias, options)


def _laid_out(weight: Tensor) -> Tensor:
    """A weight in channels_last, in which CPU and GPU kernels convolve without reordering."""
    return weight.contiguous(memory_format=_LAYOUT[weight.dim() - 2])


def plan_vectors(weight: Tensor, bias: Tensor | None, groups: int) -> Emit:
    """A convolution of (N, C, T) along time alone."""
    if groups == 1:
        flat = weight.permute(0, 2, 1).flatten(1)
        return _plan_linear(flat, bias, over_map=False)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        clip = builder.call(torch.stack, frames, 2)
        shift = None if bias is None else builder.constant(bias)
        result = builder.call(F.conv1d, clip, builder.constant(weight), shift, groups=groups)
        return builder.call(torch.squeeze, result, 2)

    return emit


def _plan_linear(weight: Tensor, bias: Tensor | None, *, over_map: bool = True) -> Emit:
    """Emit a convolution of a single position (in a gate or a head) as a linear layer."""

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        shift = None if bias is None else builder.constant(bias)
        vector = frames[0] if len(frames) == 1 else builder.call(torch.cat, frames, 1)
        if over_map:
            vector = builder.call(torch.flatten, vector, 1)
        result = builder.call(F.linear, vector, builder.constant(weight), shift)
        if over_map:
            result = builder.call(torch.reshape, result, (-1, weight.shape[0], 1, 1))
        return result

    return emit


def _plan_concatenation(flat: Tensor, bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """Emit one convolution in space over the concatenated frames."""
    convolve = _CONVOLVE[flat.dim() - 2]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        joined = frames[0] if len(frames) == 1 else builder.call(torch.cat, frames, 1)
        shift = None if bias is None else builder.constant(bias)
        return builder.call(convolve, joined, builder.constant(flat), shift, **options)

    return emit


def _plan_sum(taps: list[Tensor], bias: Tensor | None, options: dict[str, Any]) -> Emit:
    """Emit one convolution in space per frame, and their sum."""
    convolve = _CONVOLVE[taps[0].dim() - 2]

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        total: fx.Node | None = None
        for frame, tap in zip(frames, taps, strict=True):
            # The bias is added once, with the first tap.
            shift = builder.constant(bias) if bias is not None and total is None else None
            part = builder.call(convolve, frame, builder.constant(tap), shift, **options)
            total = part if total is None else builder.call(torch.add, total, part)
        assert total is not None
        return total

    return emit


def _plan_scaled_sum(taps: list[Tensor], bias: Tensor | None) -> Emit:
    """Emit a depthwise convolution over time alone: every tap scales the channels."""
    view = (1, -1) + (1,) * (taps[0].dim() - 2)
    scales = [tap.reshape(view) for tap in taps]
    shift = None if bias is None else bias.view(view)

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
    """Padding before and after, per axis (time first)."""
    if isinstance(padding, str):
        if padding == "valid":
            return [(0, 0)] * len(kernel)
        # "same": torch puts the odd element of an even kernel's padding at the end.
        totals = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in per_axis(padding, len(kernel))]
