"""Analysis: the rules give every node of the clip graph its lowering and its temporal type."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import fx

from co3d.compiler.rules import Context, Lowering, UnsupportedError, Use, find_rule
from co3d.compiler.rules.framewise import FOLDED_OPERATORS, lower_folded
from co3d.compiler.rules.recompute import lower_recomputed
from co3d.compiler.rules.registry import is_fold_aware, merged_time_error
from co3d.compiler.temporal import TemporalType, join_results

Postpone = Callable[[Lowering], int]


@dataclass(frozen=True)
class Problem:
    """An operator that cannot run frame by frame, with the reason and a hint for the user."""

    node: fx.Node
    reason: str
    hint: str

    def describe(self) -> str:
        """One line with the operator, its module and source line, the reason and the hint."""
        origin = self.node.meta["origin"]
        where = f"{origin.module_path or 'the model'} ({origin.module_class})"
        return f"{self.node.target} in {where}, {origin.source_line}: {self.reason}; {self.hint}"


@dataclass(frozen=True)
class Analysis:
    """The lowerings and temporal types of a clip graph, and what prevents streaming.

    Attributes:
        lowerings: per node that depends on the input, in graph order (the input itself excepted).
        types: temporal type per such node, the inputs included.
        windows: global pool -> its window in elements.
        fixed_windows: those that must be as long as the clip.
        gates: global pools whose results are combined with frames again; the lowerings are only
            valid when there are none.
        norms: norms with statistics of the whole clip; as for `gates`.
        problems: operators without a step form; as for `gates`.
        has_unanalysed: whether other operators depend on `problems` and so were not analysed.
        results: how each of the network's outputs is read, all of them at the same tick.
        timing: temporal type of that tick; its axis is meaningless.
    """

    lowerings: dict[fx.Node, Lowering]
    types: dict[fx.Node, TemporalType]
    windows: dict[str, int]
    fixed_windows: set[str]
    gates: set[str]
    norms: set[str]
    problems: list[Problem]
    has_unanalysed: bool
    results: list[Use]
    timing: TemporalType

    @property
    def period(self) -> int:
        """Frames after which the schedule of values repeats in native rate."""
        return math.lcm(*(t.stride for t in self.types.values()))

    @property
    def enlarging(self) -> list[fx.Node]:
        """The operators with several results per input element, such as transposed convolutions."""
        return [node for node, lowering in self.lowerings.items() if lowering.interleaved]


def analyse(
    clip_graph: fx.GraphModule,
    clip_frames: int,
    batch: int,
    windows: dict[str, int] | None = None,
    postpone: Postpone | None = None,
    refusals: Mapping[fx.Node, UnsupportedError] | None = None,
) -> Analysis:
    """Apply the rules in graph order.

    Args:
        clip_graph: the clip network.
        clip_frames: length of the clips that it was exported for.
        batch: number of clips that it was exported for.
        windows: elements that global pools average, by name; by default as many as the clip has.
        postpone: ticks by which to delay a value beyond its earliest tick.
        refusals: nodes that passes already found to have no step form.
    """
    ctx = Context(clip_graph, clip_frames, batch, dict(windows or {}))
    lowerings: dict[fx.Node, Lowering] = {}
    problems: list[Problem] = []
    poisoned: set[fx.Node] = set()
    fixed: set[fx.Node] = set()
    outputs: list[fx.Node] = []
    for node in clip_graph.graph.nodes:
        inputs = node.all_input_nodes
        if node.op == "placeholder":
            ctx.types[node] = TemporalType(axis=2)
        elif node.op == "output":
            outputs = output_nodes(clip_graph)
        elif _is_fixed(node, fixed):
            fixed.add(node)
        elif any(n in poisoned for n in inputs):
            poisoned.add(node)
        else:
            try:
                if refusals and node in refusals:
                    raise refusals[node]
                lowering = _lower(ctx, node).with_typed_fills()
                _check_result(node, lowering.type)
            except UnsupportedError as error:
                problems.append(Problem(node, error.reason, error.hint))
                poisoned.add(node)
                continue
            lowerings[node] = lowering.postponed(postpone(lowering) if postpone else 0)
            ctx.types[node] = lowerings[node].type
    known = [n for n in outputs if n in ctx.types]
    results, timing = _align_results(ctx, known)
    return Analysis(
        lowerings,
        ctx.types,
        ctx.windows,
        ctx.fixed_windows,
        ctx.gates,
        ctx.norms,
        problems,
        len(poisoned) > len(problems),
        results,
        timing,
    )


def output_nodes(clip_graph: fx.GraphModule) -> list[fx.Node]:
    """The values that a clip network returns."""
    value = next(n for n in clip_graph.graph.nodes if n.op == "output").args[0]
    return [value] if isinstance(value, fx.Node) else list(value)  # type: ignore[arg-type]


def _is_fixed(node: fx.Node, fixed: set[fx.Node]) -> bool:
    """Whether a node is constant, or depends on nothing but the batch size."""
    if node.op != "call_function" or node.target is torch.ops.aten.sym_size.int:
        return True
    inputs = node.all_input_nodes
    return bool(inputs) and all(n in fixed for n in inputs)


def _lower(ctx: Context, node: fx.Node) -> Lowering:
    types = [ctx.type_of(n) for n in node.all_input_nodes if ctx.is_temporal(n)]
    if not types:
        raise UnsupportedError("it computes a constant", "make it a buffer")
    if any(t.recomputed for t in types):
        return lower_recomputed(ctx, node)
    if node.target in FOLDED_OPERATORS and all(t.is_folded or t.axis is None for t in types):
        return lower_folded(ctx, node)
    if any(t.is_merged for t in types) and not is_fold_aware(node.target):
        raise merged_time_error()
    return find_rule(node.target)(ctx, node)


def _check_result(node: fx.Node, type_: TemporalType) -> None:
    """Raise UnsupportedError for an output in which time shares an axis with others."""
    if type_.is_merged and any(reader.op == "output" for reader in node.users):
        raise UnsupportedError(
            f"the network returns it with time folded into axis {type_.axis}",
            "return one element per frame: (N, C, T, …)",
        )


def _align_results(ctx: Context, outputs: list[fx.Node]) -> tuple[list[Use], TemporalType]:
    """Align per-frame outputs to the same frame, and whole-clip outputs to the clip's last frame.

    With several strides, results come at the largest stride.
    """
    if not outputs:
        return [], TemporalType(axis=None)
    types = [ctx.types[n] for n in outputs]
    if len(types) == 1:
        return [Use(outputs[0])], types[0]
    timing, backs = join_results(types, ctx.clip_frames)
    return [Use(n, back) for n, back in zip(outputs, backs, strict=True)], timing
