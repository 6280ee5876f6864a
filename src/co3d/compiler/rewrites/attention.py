"""Attention over a clip: with `scope="window"` each frame attends to the newest frames.

Queries, keys and values of all frames of a clip meet in one product of matrices. In a stream the
queries of one frame meet the keys and values of the newest frames, as many as the clip has, which
are kept in state. With a causal mask this equals the clip's result as long as the stream is no
older than the clip.

    clip      q (N, …, T·I, C) · k (N, …, C, T·J) -> softmax -> · v (N, …, T·J, C)
    stream    q (N, T, …, I, C) · newest k (N, T, …, C, T·J) -> softmax -> · newest v
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.newest import newest_elements, newest_exist
from co3d.compiler.rules.registry import arguments
from co3d.compiler.temporal import TemporalType

_ATEN = torch.ops.aten
_ATTENTION = _ATEN.scaled_dot_product_attention.default
_PRODUCTS = {_ATEN.matmul.default, _ATEN.bmm.default}
_SOFTMAXES = {_ATEN.softmax.int, _ATEN._softmax.default}
_SCALING = {_ATEN.mul.Tensor, _ATEN.div.Tensor}
# A mask may also be added as numbers this low, whose exponential is 0.
_HIDDEN = -1e4


@dataclass(frozen=True)
class _Attention:
    """Attention over time in a clip graph.

    Attributes:
        queries, values: (…, T·I, C).
        keys: likewise, or (…, C, T·J) if `keys_transposed`.
        between: the operators that turn products into weights, in order.
        result: the last of its nodes.
        is_causal: whether no frame attends to a later one.
        keys_transposed: whether the keys are the second operand of a matrix product.
    """

    queries: fx.Node
    keys: fx.Node
    values: fx.Node
    between: list[fx.Node]
    result: fx.Node
    is_causal: bool
    keys_transposed: bool


def slide_attention(clip_graph: fx.GraphModule, analysis: Analysis) -> PassResult:
    """Let attention over a clip attend to the newest frames, as many as the clip has."""
    report = []
    for problem in analysis.problems:
        found = _find(clip_graph, problem.node, analysis)
        if found is None:
            continue
        with clip_graph.graph.inserting_before(found.result):
            replace(found.result, _write(found, analysis))
        path = problem.node.meta["origin"].module_path or "model"
        instead = "all before" if found.is_causal else "the whole clip"
        report.append(f"{path}: attends to the newest frames instead of {instead}")
    clip_graph.graph.eliminate_dead_code()
    return PassResult(bool(report), tuple(report))


def _find(clip_graph: fx.GraphModule, node: fx.Node, analysis: Analysis) -> _Attention | None:
    """The attention that starts with an operator; None if the pattern does not match."""
    if node.target is _ATTENTION:
        return _find_whole(clip_graph, node, analysis)
    if node.target not in _PRODUCTS:
        return None
    q: Any = node.args[0]
    k: Any = node.args[1]
    types = _match_types(analysis, (q, 2), (k, 1))
    if types is None:
        return None
    between: list[fx.Node] = []
    causal, value = False, node
    while len(value.users) == 1:
        reader = next(iter(value.users))
        if reader.target in _PRODUCTS and reader.args[0] is value:
            v: Any = reader.args[1]
            if _match_types(analysis, (k, 1), (v, 2)) is None:
                return None
            return _Attention(q, k, v, between, reader, causal, keys_transposed=True)
        if _masks_later_frames(clip_graph, reader, value, types):
            causal = True
        elif _is_elementwise_or_softmax(reader, value):
            between.append(reader)
        else:
            return None
        value = reader
    return None


def _find_whole(clip_graph: fx.GraphModule, node: fx.Node, analysis: Analysis) -> _Attention | None:
    """Find attention that is one operator."""
    args = arguments(node)
    q, k, v = (args[name] for name in ("query", "key", "value"))
    types = _match_types(analysis, (q, 2), (k, 2), (v, 2))
    if types is None or args["enable_gqa"] or args["dropout_p"]:
        return None
    causal, mask = bool(args["is_causal"]), args["attn_mask"]
    if mask is not None and not _is_causal_mask(clip_graph, mask, types, _count(k, types[1])):
        return None
    if causal and any(type_.inner > 1 for type_ in types):
        return None  # would mask positions within a frame
    return _Attention(q, k, v, [], node, causal or mask is not None, keys_transposed=False)


def _match_types(analysis: Analysis, *operands: tuple[Any, int]) -> list[TemporalType] | None:
    """Types of operands that have time at these axes, counted from the end; None if one has not."""
    types, kinds = [], set()
    for value, from_end in operands:
        type_ = analysis.types.get(value) if isinstance(value, fx.Node) else None
        if type_ is None or type_.is_pooled or type_.recomputed or type_.outer > 1:
            return None
        rank = len(value.meta["val"].shape)
        if rank < 3 or type_.axis != rank - from_end:
            return None
        types.append(type_)
        kinds.add((type_.stride, type_.rows, _count(value, type_)))
    return types if len(kinds) == 1 else None


def _is_elementwise_or_softmax(node: fx.Node, value: fx.Node) -> bool:
    """Whether an operator is element-wise on the products, or the softmax over the keys."""
    rank = len(value.meta["val"].shape)
    if node.target in _SOFTMAXES:
        return int(node.args[1]) % rank == rank - 1  # type: ignore[arg-type]
    others = [n for n in node.all_input_nodes if n is not value]
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) and all(
        n.op == "get_attr" and n.meta["val"].numel() == 1 for n in others
    )


def _masks_later_frames(
    clip_graph: fx.GraphModule, node: fx.Node, value: fx.Node, types: list[TemporalType]
) -> bool:
    """Whether an operator is a causal mask before a softmax."""
    if not _leads_to_softmax(node):
        return False
    args = arguments(node) if isinstance(node.target, torch._ops.OpOverload) else {}
    frames = value.meta["val"].shape[-1] // types[1].inner
    if node.target is _ATEN.add.Tensor and args["self"] is value and args["alpha"] == 1:
        return _is_causal_mask(clip_graph, args["other"], types, frames)
    if node.target is _ATEN.masked_fill.Scalar and args["value"] <= _HIDDEN:
        return _is_causal_mask(clip_graph, args["mask"], types, frames, hides=True)
    return False


def _leads_to_softmax(node: fx.Node) -> bool:
    return all(reader.target in _SOFTMAXES for reader in node.users)


def _is_causal_mask(
    clip_graph: fx.GraphModule,
    mask: Any,
    types: list[TemporalType],
    frames: int,
    *,
    hides: bool = False,
) -> bool:
    """Whether a constant is a causal mask: each frame attends to itself and all earlier ones.

    Args:
        clip_graph: the graph of the constant.
        mask: bool, True to attend; or numbers that are added.
        types: temporal types of queries and keys.
        frames: number of frames of both.
        hides: whether True in a bool mask means not to attend.
    """
    if not isinstance(mask, fx.Node) or mask.op != "get_attr":
        return False
    held: Tensor = clip_graph.get_buffer(str(mask.target))
    rows, columns = (frames * type_.inner for type_ in types[:2])
    if held.shape[-2:] != (rows, columns) or held.numel() != rows * columns:
        return False
    seeing, seen = torch.arange(rows) // types[0].inner, torch.arange(columns) // types[1].inner
    before = seen <= seeing[:, None]
    held = held.reshape(rows, columns)
    if held.dtype == torch.bool:
        return torch.equal(held, ~before if hides else before)
    return bool((held[before] == 0).all() and (held[~before] <= _HIDDEN).all())


def _write(found: _Attention, analysis: Analysis) -> fx.Node:
    """Write attention to the newest frames; inside it time is the second axis."""
    node, types = found.result, analysis.types
    frames = _count(found.keys, types[found.keys])

    def take(value: fx.Node, function: Callable[..., Tensor]) -> fx.Node:
        type_ = types[value]
        return insert(node, function, (value, frames, type_.axis, type_.inner))

    rank, own = len(found.queries.meta["val"].shape), types[found.queries]
    queries = _bring_time_forward(node, found.queries, own)
    keys, values = take(found.keys, newest_elements), take(found.values, newest_elements)
    exist = take(found.keys, newest_exist)
    for _ in range(rank - 2):  # (N, T, T·J) -> (N, T, 1, …, 1, T·J)
        exist = insert(node, _ATEN.unsqueeze.default, (exist, 2))
    if not found.keys_transposed:
        args = arguments(node)
        options = {"attn_mask": exist, "scale": args["scale"]}
        result = insert(node, _ATTENTION, (queries, keys, values), options)
    else:
        product = insert(node, _ATEN.matmul.default, (queries, keys))
        missing = insert(node, _ATEN.logical_not.default, (exist,))
        for one in found.between:
            if one.target in _SOFTMAXES:
                lowest = float("-inf")
                product = insert(node, _ATEN.masked_fill.Scalar, (product, missing, lowest))
            product = _repeat(one, product)
        if not all(one.target in _SOFTMAXES | _SCALING for one in found.between):
            # These operators may leave the products of missing frames infinite, or NaN, so that
            # they would not vanish in the sum.
            product = insert(node, _ATEN.masked_fill.Scalar, (product, missing, 0.0))
        result = insert(node, _ATEN.matmul.default, (product, values))
    return _bring_time_back(node, result, own)


def _count(value: fx.Node, type_: TemporalType) -> int:
    assert type_.axis is not None
    return value.meta["val"].shape[type_.axis] // type_.inner


def _bring_time_forward(node: fx.Node, queries: fx.Node, type_: TemporalType) -> fx.Node:
    """(N, …, T·I, C) -> (N, T, …, I, C)."""
    shape = queries.meta["val"].shape
    rank, inner = len(shape), type_.inner
    if inner == 1:
        apart = insert(node, _ATEN.unsqueeze.default, (queries, rank - 1))
    else:
        sizes = [-1, *shape[1:-2], _count(queries, type_), inner, shape[-1]]
        apart = insert(node, _ATEN.reshape.default, (queries, sizes))
    order = [0, rank - 2, *range(1, rank - 2), rank - 1, rank]
    return insert(node, _ATEN.permute.default, (apart, order))


def _bring_time_back(node: fx.Node, result: fx.Node, type_: TemporalType) -> fx.Node:
    """(N, T, …, I, C) -> (N, …, T·I, C)."""
    rank = len(result.meta["val"].shape) - 1
    order = [0, *range(2, rank - 1), 1, rank - 1, rank]
    moved = insert(node, _ATEN.permute.default, (result, order))
    if type_.inner == 1:
        return insert(node, _ATEN.squeeze.dim, (moved, rank - 1))
    shape = moved.meta["val"].shape
    sizes = [-1, *shape[1:-3], shape[-3] * shape[-2], shape[-1]]
    return insert(node, _ATEN.reshape.default, (moved, sizes))


def _repeat(one: fx.Node, product: fx.Node) -> fx.Node:
    """Insert an operator between the products again, for the newest frames."""
    value = next(n for n in one.all_input_nodes if n.op != "get_attr")
    args, kwargs = fx.map_arg((one.args, one.kwargs), lambda n: product if n is value else n)
    if one.target in _SOFTMAXES:
        args = (args[0], -1, *args[2:])
    return insert(one, one.target, args, kwargs)  # type: ignore[arg-type]
