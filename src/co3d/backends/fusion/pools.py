"""Matches pools in a step graph: averages and maxima over pixels, and averages over time."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import fx

from co3d.backends.fusion.groups import MOST_SOURCES, POINT, MaxPool, SumDepthwise
from co3d.backends.fusion.reader import DIV, MUL, GraphReader, read_arguments, read_pair

_aten = torch.ops.aten
AVG_POOL = (F.avg_pool2d, _aten.avg_pool2d.default)
MAX_POOL = (F.max_pool2d, torch.max_pool2d, _aten.max_pool2d.default)
MAXIMUM = (torch.maximum, _aten.maximum.default)


def match_pool(reader: GraphReader, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
    """An average pool over pixels, without padding."""
    if node.target not in AVG_POOL or not reader.is_map(node.args[0]):
        return None
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    source, kernel, stride, padding, ceil_mode, _, divisor = read_arguments(
        node, *names, "divisor_override"
    )
    height, width = read_pair(kernel)
    if any(read_pair(padding or 0)) or ceil_mode or divisor:
        return None
    geometry = {**POINT, "stride": read_pair(stride or kernel)}
    scale = 1 / (height * width)
    group = SumDepthwise((source,), None, None, geometry, kernel=(height, width), scale=scale)
    return group, set()


def average_pixels(reader: GraphReader, source: fx.Node) -> SumDepthwise:
    """The average over all pixels of a map, as a pool of one window."""
    height, width = reader.shape(source)[2:]
    scale = 1 / (height * width)
    return SumDepthwise((source,), None, None, POINT, kernel=(height, width), scale=scale)


def match_window(
    reader: GraphReader, node: fx.Node, *, divides: bool = False
) -> tuple[SumDepthwise, set[fx.Node]] | None:
    """The scaled sum of a stack: the average over the newest elements of a state.

    Args:
        divides: whether kernels can divide a sum by a number that the step computes, such as the
            count of elements in a window that is not full yet.
    """
    if node.target not in (*MUL, *DIV) or len(node.args) != 2 or node.kwargs:
        return None
    total, factor = node.args
    scale, divisor = 1.0, None
    if node.target in MUL and isinstance(factor, float):
        scale = factor
    elif divides and node.target in DIV and reader.is_count(factor):
        divisor = factor
    else:
        return None
    if not isinstance(total, fx.Node) or total.target is not torch.sum or total.kwargs:
        return None
    stack = total.args[0]
    if not isinstance(stack, fx.Node) or stack.target is not torch.stack or stack.kwargs:
        return None
    if total.args[1:] != (0,) or stack.args[1:] not in ((), (0,)):
        return None
    if len(total.users) > 1 or len(stack.users) > 1:
        return None
    sources = cast(Sequence[fx.Node], stack.args[0])
    shape = reader.shape(node)
    if len(shape) not in (2, 4) or len(sources) > MOST_SOURCES:
        return None
    if not all(reader.is_step_value(s) and reader.shape(s) == shape for s in sources):
        return None
    group = SumDepthwise(tuple(sources), None, None, POINT, scale=scale, divisor=divisor)
    return group, {total, stack}


def match_max_pool(reader: GraphReader, node: fx.Node) -> MaxPool | None:
    """A max pool, or the elementwise maximum of two maps."""
    if not reader.is_map(node):
        return None
    if node.target in MAXIMUM and reader.takes_same_shape(node):
        return MaxPool(tuple(cast(Sequence[fx.Node], node.args)))
    if node.target not in MAX_POOL:
        return None
    names = ("input", "kernel_size", "stride", "padding", "dilation")
    source, kernel, stride, padding, dilation = read_arguments(node, *names)
    if not reader.is_map(source):
        return None
    geometry = {
        "stride": read_pair(stride or kernel),
        "padding": read_pair(padding or 0),
        "dilation": read_pair(dilation or 1),
    }
    return MaxPool((source,), read_pair(kernel), geometry)
