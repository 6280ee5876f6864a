"""`einsum` within each frame: time is a letter of every operand that depends on the input."""

from typing import Any

import torch
from torch import fx

from co3d.compiler.macs import count_macs
from co3d.compiler.rules.pointwise import join_operands
from co3d.compiler.rules.registry import (
    Builder,
    Context,
    Lowering,
    UnsupportedError,
    arguments,
    rule,
)


@rule(torch.ops.aten.einsum.default)
def lower_einsum(ctx: Context, node: fx.Node) -> Lowering:
    """The `einsum` of one frame, without the letter of time.

    ncthw,hw->nct     at each step     nchw,hw->nc
    """
    args = arguments(node)
    tensors = list(args["tensors"])
    sources, result = _parse(args["equation"], [len(ctx.shape(x)) for x in tensors])
    moving = [(x, letters) for x, letters in zip(tensors, sources, strict=True) if x in ctx.types]
    fixed = [letters for x, letters in zip(tensors, sources, strict=True) if x not in ctx.types]
    batch = {letters[0] for _, letters in moving}
    if batch != {result[:1]} or any(batch & set(letters) for letters in fixed):
        raise UnsupportedError("it sums over the batch", "treat all streams of a batch alike")
    axes = {ctx.type_of(x).axis for x, _ in moving}
    times = {letters[axis] for x, letters in moving if (axis := ctx.type_of(x).axis)}
    if len(times) > 1 or (times and axes & {None, 0}):
        raise UnsupportedError("its operands have time at different letters", "permute them alike")
    time = times.pop() if times else ""
    if time and (time not in result or any(time in letters for letters in fixed)):
        raise UnsupportedError("it sums over time", "let time be a letter of the result, too")
    if any(len(set(letters)) < len(letters) for letters in sources):
        raise UnsupportedError("it takes a diagonal", "use torch.diagonal within a frame")
    axis = result.index(time) if time else next(iter(axes))
    places = [axis] * len(moving)
    joined, uses = join_operands(ctx, [x for x, _ in moving], len(result), places)

    def emit(builder: Builder, frames: list[fx.Node]) -> fx.Node:
        values = iter(frames)
        given = [next(values) if x in ctx.types else _constant(ctx, builder, x) for x in tensors]
        drop = str.maketrans("", "", time)
        equation = f"{','.join(sources)}->{result}".translate(drop)
        return builder.call(torch.ops.aten.einsum.default, equation, given)

    elements = ctx.batch * joined.count_elements(ctx.shape(node), ctx.batch)
    return Lowering(joined, uses, emit, count_macs(node) // elements)


def _parse(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """The letters of each operand, and of the result."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    sources = left.split(",")
    if not arrow or "." in equation or [len(letters) for letters in sources] != ranks:
        raise UnsupportedError("it leaves axes unnamed", "name every axis, and the result's")
    return sources, result


def _constant(ctx: Context, builder: Builder, node: fx.Node) -> Any:
    tensor = ctx.tensor(node)
    assert tensor is not None
    return builder.constant(tensor)
