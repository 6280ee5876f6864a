"""Analysis: every node of the clip graph gets its rule, its temporal type and its readings."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import fx

from co3d.compiler.rules import Context, Lowering, UnsupportedError, Use, find_rule
from co3d.compiler.rules.framewise import FOLDED_OPERATORS, lower_folded
from co3d.compiler.rules.recompute import lower_recomputed
from co3d.compiler.rules.registry import is_fold_aware, takes_time_for_more
from co3d.compiler.temporal import TemporalType, join_results

Postpone = Callable[[Lowering], int]


@dataclass(frozen=True)
class Problem:
    """An operator that cannot run frame by frame: why, and what its user can do."""

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
    """What the rules say of a clip graph.

    Attributes:
        lowerings: per node that depends on the input, in graph order (the input itself excepted).
        types: temporal type per such node, the inputs included.
        windows: global pool -> its window in elements.
        fixed_windows: those that must be as long as the clip.
        gates: global pools that meet frames again; lowering is only sound when there are none.
        norms: those with statistics of the whole clip; as for `gates`.
        problems: operators without a step form; lowering is only sound when there are none.
        has_unexamined: whether operators depend on these.
        results: how each of the network's outputs is read, all of them at the same tick.
        timing: when that is; its axis means nothing.
    """

    lowerings: dict[fx.Node, Lowering]
    types: dict[fx.Node, TemporalType]
    windows: dict[str, int]
    fixed_windows: set[str]
    gates: set[str]
    norms: set[str]
    problems: list[Problem]
    has_unexamined: bool
    results: list[Use]
    timing: TemporalType

    @property
    def period(self) -> int:
        """After how many frames the pattern of work repeats in native rate."""
        return math.lcm(*(t.stride for t in self.types.values()))

    @property
    def enlarging(self) -> list[fx.Node]:
        """The operators that make several elements of each, as a transposed convolution does."""
        return [node for node, lowering in self.lowerings.items() if lowering.turns]


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
        postpone: by how many ticks to make a value later than it could be.
        refusals: nodes that were found to have no step form already.
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
                lowering = _lower(ctx, node).with_fills_in_kind()
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
    """Whether a node is a constant, or depends on the batch size alone."""
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
        raise takes_time_for_more()
    return find_rule(node.target)(ctx, node)


def _check_result(node: fx.Node, type_: TemporalType) -> None:
    """UnsupportedError for a result of the network in which time is no axis of its own."""
    if type_.is_merged and any(reader.op == "output" for reader in node.users):
        raise UnsupportedError(
            f"the network returns it with time folded into axis {type_.axis}",
            "return one element per frame: (N, C, T, …)",
        )


def _align_results(ctx: Context, outputs: list[fx.Node]) -> tuple[list[Use], TemporalType]:
    """Read outputs with one element per frame together, those of the whole clip at its end.

    Outputs of several strides come at the pace of the coarsest.
    """
    if not outputs:
        return [], TemporalType(axis=None)
    types = [ctx.types[n] for n in outputs]
    if len(types) == 1:
        return [Use(outputs[0])], types[0]
    timing, backs = join_results(types, ctx.clip_frames)
    return [Use(n, back) for n, back in zip(outputs, backs, strict=True)], timing
