"""What enlarges time: several elements are made of each, in turn, one per tick of the finer grid.

Stretched by 2, a value of stride 2 has stride 1. Its elements 0, 2, 4, … are made in one way and
1, 3, 5, … in another, each at its own tick:

    tick          0     1     2     3     4     5
    read          x0          x1          x2            stride 2
    made          y0    y1    y2    y3    y4    y5      y0, y2, y4 by turn 0, the others by turn 1
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import fx

from co3d.compiler.rules.registry import Builder, Context, Lowering, UnsupportedError, Use
from co3d.compiler.rules.windows import clip_input
from co3d.compiler.temporal import TemporalType


def stretch_input(ctx: Context, x: fx.Node, ratio: int) -> TemporalType:
    """The type of a (N, C, T, …) operand with room for `ratio` elements in place of one.

    Raises:
        UnsupportedError: time is elsewhere, or collapsed; or a stream cannot have as many.
    """
    # Of a single element, which a global pool leaves, the clip network makes several alike.
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
    """The reading of the stretched value's element that lies `offset` after the one made."""
    return Use(x, type_out.delay - stretched.delay - offset * stretched.stride, fill)


def take_turns(type_out: TemporalType, ratio: int, make: Callable[[int], Lowering]) -> Lowering:
    """The lowering of a value that is made in `ratio` turns.

    Args:
        type_out: of the value.
        ratio: number of turns.
        make: how the elements of a turn are made, from its number; its type is not looked at.
    """
    turns = [
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
        return turns[0]
    uses: Sequence[Use] = [use for turn in turns for use in turn.uses]
    macs = round(sum(turn.macs for turn in turns) / ratio)
    return Lowering(type_out, uses, turns[0].emit, macs, turns=turns)


def repeat_frames(
    ctx: Context, x: fx.Node, ratio: int, finish: Callable[[Builder, fx.Node, int], fx.Node]
) -> Lowering:
    """The lowering of a value that is made `ratio` times of each frame.

    Args:
        ctx, x: the operand.
        ratio: how often.
        finish: given a builder, a frame and the number of the turn, emits what is made of it.
    """
    stretched = stretch_input(ctx, x, ratio)
    type_out = stretched.slide(ratio, 1, 1, ratio - 1, ratio - 1)

    def make(turn: int) -> Lowering:
        use = use_at(x, stretched, type_out, -turn, None)
        return Lowering(type_out, [use], lambda builder, f: finish(builder, f[0], turn))

    return take_turns(type_out, ratio, make)
