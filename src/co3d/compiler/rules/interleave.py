"""Operators that enlarge time: they make several elements of each, by interleaved lowerings.

Enlarged by 2, a value of stride 2 has stride 1. One variant of its lowering makes the elements
0, 2, 4, …, another 1, 3, 5, …, each at its own tick:

    tick          0     1     2     3     4     5
    read          x0          x1          x2            stride 2
    made          y0    y1    y2    y3    y4    y5      variants 0 1 0 1 0 1
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import fx

from co3d.compiler.rules.registry import Builder, Context, Lowering, UnsupportedError, Use
from co3d.compiler.rules.windows import clip_input
from co3d.compiler.temporal import TemporalType


def stretch_input(ctx: Context, x: fx.Node, ratio: int) -> TemporalType:
    """The type of a (N, C, T, …) operand with `ratio` elements in place of one.

    Raises:
        UnsupportedError: time is another axis or collapsed, or the strides do not allow the ratio.
    """
    # After a global pool the clip network would repeat a single element.
    type_in = clip_input(ctx, x, 2 if ratio > 1 else 1)
    try:
        return type_in.stretch(ratio)
    except ValueError as error:
        raise UnsupportedError(
            str(error),
            "enlarge time only by what strides before it have divided it by, or space alone: "
            "stride or scale_factor (1, 2, 2)",
        ) from error


def use_at(
    x: fx.Node, stretched: TemporalType, type_out: TemporalType, offset: int, fill: float | None
) -> Use:
    """The read of the stretched value's element `offset` after the one that is made."""
    return Use(x, type_out.delay - stretched.delay - offset * stretched.stride, fill)


def interleave(type_out: TemporalType, ratio: int, make: Callable[[int], Lowering]) -> Lowering:
    """The lowering of a value whose elements `ratio` variants make in rotation.

    Args:
        type_out: temporal type of the value.
        ratio: number of variants.
        make: returns the lowering of a variant, given its number; its type is replaced.
    """
    interleaved = [
        replace(
            make(number),
            type=replace(
                type_out,
                stride=type_out.stride * ratio,
                delay=type_out.delay + number * type_out.stride,
            ),
        )
        for number in range(ratio)
    ]
    if ratio == 1:
        return interleaved[0]
    uses: Sequence[Use] = [use for variant in interleaved for use in variant.uses]
    macs = round(sum(variant.macs for variant in interleaved) / ratio)
    return Lowering(type_out, uses, interleaved[0].emit, macs, interleaved=interleaved)


def repeat_frames(
    ctx: Context, x: fx.Node, ratio: int, finish: Callable[[Builder, fx.Node, int], fx.Node]
) -> Lowering:
    """The lowering of a value with `ratio` elements of each frame.

    Args:
        ctx, x: the operand.
        ratio: elements per frame.
        finish: emits an element, given a builder, the frame and the number of the variant.
    """
    stretched = stretch_input(ctx, x, ratio)
    type_out = stretched.slide(ratio, 1, 1, ratio - 1, ratio - 1)

    def make(variant: int) -> Lowering:
        use = use_at(x, stretched, type_out, -variant, None)
        return Lowering(type_out, [use], lambda builder, f: finish(builder, f[0], variant))

    return interleave(type_out, ratio, make)
