"""Pool space before time: pools over both are split in two, so that the state is small."""

from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.insertion import insert, replace, visit_readers
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.windows import per_axis

_ATEN = torch.ops.aten
_REDUCTIONS = {
    _ATEN.mean.dim,
    _ATEN.sum.dim_IntList,
    _ATEN.amax.default,
    _ATEN.amin.default,
}


def split_pools(clip_graph: fx.GraphModule) -> PassResult:
    """Split global and sliding pools over space and time; equal up to rounding.

    An average pool as long as the clip becomes a mean over time, which streams as a sliding window.
    """
    changed = False
    for node in list(clip_graph.graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in _REDUCTIONS:
            changed |= _split_reduction(node)
        elif node.target is _ATEN.adaptive_avg_pool3d.default:
            changed |= _split_adaptive(node)
        elif node.target in (_ATEN.avg_pool3d.default, _ATEN.max_pool3d.default):
            changed |= _split_sliding(node)
    return PassResult(changed)


def _split_reduction(node: fx.Node) -> bool:
    """mean([2, 3, 4]) -> mean([3, 4]), mean([2]): time precedes space in the usual layouts."""
    args = arguments(node, "self", "dim", "keepdim")
    x, rank = args["self"], len(args["self"].meta["val"].shape)
    dims = sorted(d % rank for d in (args["dim"] or range(rank)))
    if len(dims) < 2 or dims[0] not in (1, 2):
        return False
    parts: list[Any] = [(node.target, (dims[1:], True)), (node.target, (dims[:1], True))]
    if not args["keepdim"]:
        parts.append((_ATEN.squeeze.dims, (dims,)))
    return _replace(node, x, parts)


def _split_adaptive(node: fx.Node) -> bool:
    """Write axes that are pooled to 1 as means, space before time, after the other axes' pool."""
    x, size = node.args[0], node.args[1]
    clip = tuple(x.meta["val"].shape)  # type: ignore[union-attr]
    if len(clip) != 5:
        return False
    wanted = per_axis(size, 3)  # type: ignore[arg-type]
    # Also over a single element in time: longer videos have more.
    to_one = [d for d, n in zip((2, 3, 4), wanted, strict=True) if n == 1 and clip[d] > (d > 2)]
    rest = [clip[d] if d in to_one else n for d, n in zip((2, 3, 4), wanted, strict=True)]
    if not to_one:
        return False
    parts: list[Any] = [] if rest == list(clip[2:]) else [(node.target, (rest,))]
    groups = ([d for d in to_one if d > 2], [d for d in to_one if d == 2])
    parts += [(_ATEN.mean.dim, (dims, True)) for dims in groups if dims]
    return _replace(node, x, parts)


def _split_sliding(node: fx.Node) -> bool:
    args = arguments(node)
    kernel = per_axis(args["kernel_size"], 3)
    stride, pads = per_axis(args["stride"] or kernel, 3), per_axis(args["padding"], 3)
    x = args["self"]
    is_mean = node.target is _ATEN.avg_pool3d.default
    if kernel[0] == 1 or args.get("divisor_override"):
        return False
    space = _sliding_args(args, is_mean, (1, *kernel[1:]), (1, *stride[1:]), (0, *pads[1:]), 1)
    is_global = is_mean and kernel[0] == x.meta["val"].shape[2] and not pads[0]
    if is_global and not _is_strided_pool(node):
        parts = [(node.target, space), (_ATEN.mean.dim, ([2], True))]
    elif kernel[1:] == (1, 1):
        return False
    else:
        time = _sliding_args(
            args, is_mean, (kernel[0], 1, 1), (stride[0], 1, 1), (pads[0], 0, 0), 0
        )
        parts = [(node.target, space), (node.target, time)]
    return _replace(node, x, parts)


def _is_strided_pool(pool: fx.Node) -> bool:
    """Whether a pool as long as the clip is a strided pool by chance, as its readers show.

    Then a kernel in time reads its result, or it is combined with a value that strides have reduced
    to one element in time: four frames, two, one.
    """
    behind = {pool}
    found = False

    def visit(node: fx.Node) -> bool:
        nonlocal found
        if node.op == "output" or not _has_one_element(node):
            return False
        behind.add(node)
        others = [n for n in node.all_input_nodes if n.op == "call_function" and n not in behind]
        found |= _spans_time(node) or any(_was_strided_to_one(n) for n in others)
        return not found

    visit_readers([pool], visit)
    return found


def _has_one_element(node: fx.Node) -> bool:
    value = node.meta["val"]
    return isinstance(value, Tensor) and value.dim() == 5 and value.shape[2] == 1


def _spans_time(node: fx.Node) -> bool:
    """Whether a convolution or pool has a kernel of several elements in time."""
    if node.target is _ATEN.conv3d.default:
        return bool(node.all_input_nodes[1].meta["val"].shape[2] > 1)
    if node.target in (_ATEN.avg_pool3d.default, _ATEN.max_pool3d.default):
        return per_axis(arguments(node)["kernel_size"], 3)[0] > 1
    return False


def _was_strided_to_one(node: fx.Node) -> bool:
    """Whether a value has one element in time because of strides, not of a global pool."""
    while _has_one_element(node):
        if node.target in (_ATEN.conv3d.default, _ATEN.max_pool3d.default):
            args = arguments(node)
            if per_axis(args["stride"] or args["kernel_size"], 3)[0] > 1:
                return True
        sources = [n for n in node.all_input_nodes if n.op == "call_function"]
        if not sources or node.target in (*_REDUCTIONS, _ATEN.avg_pool3d.default):
            return False
        node = sources[0]
    return False


def _sliding_args(
    args: dict, is_mean: bool, kernel: tuple, stride: tuple, pads: tuple, space: int
) -> tuple:
    sizes = (list(kernel), list(stride), list(pads))
    if is_mean:
        return (*sizes, args["ceil_mode"], args["count_include_pad"])
    dilation = per_axis(args["dilation"], 3)
    dilation = (1, *dilation[1:]) if space else (dilation[0], 1, 1)
    return (*sizes, list(dilation), args["ceil_mode"])


def _replace(node: fx.Node, x: Any, parts: list) -> bool:
    with node.graph.inserting_before(node):
        for target, rest in parts:
            x = insert(node, target, (x, *rest))
    replace(node, x)
    return True
