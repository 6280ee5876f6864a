"""Squeeze-and-excitation and other gates: pool each frame, or the newest ones, not the whole clip.

A gate that averages over all frames of a clip needs frames that a stream has not seen. Hedegaard
and Iosifidis (arXiv:2106.00050, section 3) pool the current frame alone (`scope="frame"`).
`scope="window"` pools as many of the newest frames as the clip had.

A gate multiplies the features that it pooled. Other pools that are combined with frames again (a
clip minus its mean over time) see the newest frames, whatever the scope: of each frame alone,
x - mean(x) would be 0.
"""

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.insertion import insert, propagate_shapes, visit_readers
from co3d.compiler.passes.result import PassResult
from co3d.compiler.program import Scope
from co3d.compiler.rules.registry import GATE_PER_FRAME, UnsupportedError, arguments
from co3d.compiler.rules.sliding import sliding_mean

_ATEN = torch.ops.aten
_MEAN = _ATEN.mean.dim
_TIME = 2
_POOLS = {
    _MEAN,
    _ATEN.sum.dim_IntList,
    _ATEN.amax.default,
    _ATEN.amin.default,
    _ATEN.avg_pool3d.default,
    _ATEN.max_pool3d.default,
    _ATEN.adaptive_avg_pool3d.default,
}


def localise_gates(clip_graph: fx.GraphModule, analysis: Analysis, scope: Scope) -> PassResult:
    """Let pools that are combined with frames again pool what a stream has; refuse the others.

    Pools that depend on a refused one are not changed: a fallback may rerun them on whole clips.
    """
    report, refusals = [], {}
    after_refused: set[fx.Node] = set()

    def add_refused(node: fx.Node) -> bool:
        is_new = node not in after_refused
        after_refused.add(node)
        return is_new

    for node in list(clip_graph.graph.nodes):
        if node.name not in analysis.gates or node in after_refused:
            continue
        own_scope = scope if _is_gate(node, analysis) else "window"
        try:
            moved = _localise(node, own_scope)
        except UnsupportedError as error:
            refusals[node] = error
            visit_readers([node], add_refused)
            continue
        clip_graph.graph.erase_node(node)
        propagate_shapes(moved)
        sees = "each frame" if own_scope == "frame" else "the newest frames"
        path = node.meta["origin"].module_path or "model"
        report.append(f"{path}: pools {sees} instead of the whole clip")
    return PassResult(bool(report), tuple(report), refusals)


def _is_gate(pool: fx.Node, analysis: Analysis) -> bool:
    """Whether a pool's result multiplies the features that it pooled, and nothing else joins both.

    It may be combined with other values in any way, such as with the product.
    """
    sources = {pool}
    value = pool
    while value in sources:  # the pool over time, and pools over space before it
        value = value.all_input_nodes[0]
        if value.target in _POOLS:
            sources.add(value)
    sources.add(value)
    joins: list[bool] = []  # per operator that combines it with what it pooled: is it a product?

    def follow(node: fx.Node) -> bool:
        if node.op == "output":
            return False
        type_ = analysis.types.get(node)
        if type_ is not None and type_.is_pooled:
            return True
        others = [n for n in node.all_input_nodes if not _is_pooled(n, analysis)]
        if not sources.isdisjoint(others):
            joins.append(node.target is _ATEN.mul.Tensor)
        return False

    visit_readers([pool], follow)
    return bool(joins) and all(joins)


def _is_pooled(node: fx.Node, analysis: Analysis) -> bool:
    type_ = analysis.types.get(node)
    return type_ is not None and type_.is_pooled


def _localise(node: fx.Node, scope: Scope) -> list[fx.Node]:
    """Replace a gate's pool; returns the values whose shapes have changed."""
    args = arguments(node)
    x, shape = args["self"], args["self"].meta["val"].shape
    if node.target not in _POOLS:
        raise _refuse("only means, sums and extrema can be pooled over less than the clip")
    reduced = args["dim"] if isinstance(args["dim"], (list, tuple)) else [args["dim"]]
    dims = sorted(d % len(shape) for d in reduced)
    if _TIME not in dims:
        raise _refuse("its time axis is not axis 2")
    if scope == "window" and node.target is not _MEAN:
        raise _refuse(
            'only means over time can slide over the newest frames, as with scope="window", '
            "or where the pool does not multiply what it pooled"
        )
    inside, meetings = _follow(node, len(shape))
    for reader, _ in meetings:
        met = reader.meta["val"].shape
        if len(met) >= len(shape) and met[_TIME] not in (1, shape[_TIME]):
            raise _refuse(f"it has {shape[_TIME]} elements of time, combined with {met[_TIME]}")
    keeps_axes = all(value is node or _keeps_time(value, len(shape)) for value in inside)
    keeps_axes &= args["keepdim"]
    if not keeps_axes and len(shape) < 4:
        raise _refuse(f"it does not keep the time axis of its input of shape {tuple(shape)}")
    for _, gate in [] if keeps_axes else meetings:
        _time_of(gate, len(shape))
    with node.graph.inserting_before(node):
        space = [d for d in dims if d != _TIME]
        pooled = insert(node, node.target, (x, space, True)) if space else x
        if scope == "window":
            pooled = insert(node, sliding_mean, (pooled, shape[_TIME]))
    if keeps_axes:
        node.replace_all_uses_with(pooled)
        # Without a pool the gate keeps the shapes of the clip network (one element per clip), so
        # that `clip_macs` counts the clip network's work.
        if pooled is not x:
            return [pooled]
        visit_readers([pooled], _mark_per_frame)
        return []
    return _fold_gate(node, pooled, shape, inside, meetings)


def _mark_per_frame(value: fx.Node) -> bool:
    """Mark the values of a gate as having one element per frame, up to where it meets frames."""
    made = value.meta.get("val")
    is_gate = isinstance(made, torch.Tensor) and made.dim() > _TIME and made.shape[_TIME] == 1
    if is_gate:
        value.meta[GATE_PER_FRAME] = True
    return is_gate


def _keeps_time(value: fx.Node, rank: int) -> bool:
    """Whether an operator of a gate acts on several frames as on the one element of a clip.

    Then time may keep its axis. Norms, kernels in time and cumulative sums act otherwise.
    """
    shape = value.meta["val"].shape
    if len(shape) < rank:
        return False
    if torch.Tag.pointwise in getattr(value.target, "tags", ()):
        return True
    if value.target is _ATEN.unsqueeze.default:
        return int(value.args[1]) % len(shape) > _TIME  # type: ignore[arg-type]
    if value.target is _ATEN.conv3d.default:
        args = arguments(value)
        kernel = args["weight"].meta["val"].shape[_TIME]
        padding, stride = args["padding"], args["stride"]
        return kernel == 1 and padding[0] == 0 and stride[0] == 1 and len(shape) == 5
    if value.target is _ATEN.linear.default:
        return len(shape) > _TIME + 1
    return False


def _fold_gate(
    node: fx.Node,
    pooled: fx.Node,
    shape: torch.Size,
    inside: set[fx.Node],
    meetings: list[tuple[fx.Node, fx.Node]],
) -> list[fx.Node]:
    """Run the operators between pool and frames on (N·T, …): one gate per frame.

    pool (N, C, T, 1, 1) -> fold (N·T, C, 1, 1, 1) -> the gate's own layers -> (N·T, C, 1, 1, 1)
    -> unfold (N, C, T, 1, 1), where it meets the frames
    """
    clip_frames, rank = shape[_TIME], len(shape)
    graph = node.graph
    with graph.inserting_before(node):
        time_first = [0, _TIME, *(d for d in range(1, rank) if d != _TIME)]
        moved = insert(node, _ATEN.permute.default, (pooled, time_first))
        gate_shape = list(node.meta["val"].shape)
        folded = insert(node, _ATEN.reshape.default, (moved, [-1, *gate_shape[1:]]))
    node.replace_all_uses_with(folded)
    propagate_shapes([folded], inside)
    unfolded = []
    for reader, gate in meetings:
        value = folded if gate is node else gate
        gate_shape = list(gate.meta["val"].shape)
        time = _time_of(gate, rank)
        with graph.inserting_before(reader):
            # (N·T, …, 1, …) -> (N, T, …, 1, …) -> (N, …, T, …)
            sizes = [-1, clip_frames, *gate_shape[1:]]
            apart = insert(node, _ATEN.reshape.default, (value, sizes))
            swapped = insert(node, _ATEN.transpose.int, (apart, 1, time + 1))
            unfolded.append(insert(node, _ATEN.squeeze.dims, (swapped, [1])))
        reader.replace_input_with(value, unfolded[-1])
    return unfolded


def _follow(pool: fx.Node, rank: int) -> tuple[set[fx.Node], list[tuple[fx.Node, fx.Node]]]:
    """The values of a gate, and its ends: (operator that combines with frames, gate's value)."""
    inside: set[fx.Node] = {pool}
    meetings: list[tuple[fx.Node, fx.Node]] = []

    def enter(node: fx.Node) -> bool:
        if node.op == "output":
            return False
        operands = [n for n in node.all_input_nodes if n in inside]
        others = [n for n in node.all_input_nodes if n not in inside and n.op != "get_attr"]
        if others or _is_expanded_to_frames(node, rank):
            meetings.extend((node, operand) for operand in operands)
            return False
        inside.add(node)
        return True

    visit_readers([pool], enter)
    return inside, meetings


def _is_expanded_to_frames(node: fx.Node, rank: int) -> bool:
    shape = node.meta["val"].shape
    return node.target is _ATEN.expand.default and len(shape) == rank and shape[_TIME] > 1


def _time_of(gate: fx.Node, rank: int) -> int:
    """The axis of a gate's value that is combined with the time axis of its frames."""
    shape = tuple(gate.meta["val"].shape)
    time = _TIME - (rank - len(shape))
    if time < 1 or shape[time] != 1:
        raise _refuse(f"its value of shape {shape} has no time axis")
    return time


def _refuse(reason: str) -> UnsupportedError:
    return UnsupportedError(
        f"it is the pool of a gate, and {reason}",
        "keep clips as (N, C, T, H, W), pool with a mean and keepdim=True, and give the gate one "
        "value per channel",
    )
