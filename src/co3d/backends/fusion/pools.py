"""Finds pools in a step graph: averages and maxima over pixels, and averages over time."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import fx

from co3d.backends.fusion.groups import MOST_SOURCES, POINT, Greatest, SumDepthwise
from co3d.backends.fusion.reader import MUL, GraphReader, read_arguments, read_pair

_aten = torch.ops.aten
AVG_POOL = (F.avg_pool2d, _aten.avg_pool2d.default)
MAX_POOL = (F.max_pool2d, torch.max_pool2d, _aten.max_pool2d.default)
MAXIMUM = (torch.maximum, _aten.maximum.default)


def match_pool(reader: GraphReader, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
    """An average over pixels that never looks outside of the map."""
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
    """The average over all pixels of a map: a pool of one window."""
    height, width = reader.shape(source)[2:]
    scale = 1 / (height * width)
    return SumDepthwise((source,), None, None, POINT, kernel=(height, width), scale=scale)


def match_window(reader: GraphReader, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
    """The scaled sum of a stack: the average over the newest elements."""
    if node.target not in MUL or len(node.args) != 2 or not isinstance(node.args[1], float):
        return None
    total = node.args[0]
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
    if not all(reader.is_made(s) and reader.shape(s) == shape for s in sources):
        return None
    group = SumDepthwise(tuple(sources), None, None, POINT, scale=node.args[1])
    return group, {total, stack}


def match_greatest(reader: GraphReader, node: fx.Node) -> Greatest | None:
    """A maximum pool, or the greater of two maps."""
    if not reader.is_map(node):
        return None
    if node.target in MAXIMUM and reader.takes_alike(node):
        return Greatest(tuple(cast(Sequence[fx.Node], node.args)))
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
    return Greatest((source,), read_pair(kernel), geometry)
