"""Preparation: a clip network becomes a graph whose every operator has a step form."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx, nn
from torch.utils._pytree import TreeSpec

from co3d.compiler.analyse import Analysis, analyse, output_nodes
from co3d.compiler.capture import EXPORT_BATCH, Captured, ClipShape, capture, propagate_shapes
from co3d.compiler.passes import (
    convolve_space_first,
    drop_noops,
    fold_batch_norm,
    fold_constants,
    free_batch,
    split_lists,
    split_pools,
    write_as_pads,
    write_stacks,
)
from co3d.compiler.program import Scope
from co3d.compiler.rewrites import even_out_frame_picking, fix_adaptive_pools, localise_gates
from co3d.compiler.rules import UnsupportedError
from co3d.compiler.rules.recompute import collect_clip
from co3d.errors import ConversionError

EXACT_PASSES = (
    drop_noops,
    fold_constants,
    split_lists,
    write_stacks,
    write_as_pads,
    fold_constants,
    fold_batch_norm,
    split_pools,
    propagate_shapes,
)


@dataclass(frozen=True)
class Prepared:
    """A clip graph, what the rules say of it, and how it differs from the model.

    Attributes:
        clip_graph: the clip network after passes and rewrites; it takes any batch.
        whole_graph: the same before some of its convolutions were split for steps.
        output_spec: how the model packs its outputs.
        analysis: of the clip graph.
        approximations: the rewrites that change what the network computes.
        fallbacks: the operators from which on the network is rerun on whole clips.
    """

    clip_graph: fx.GraphModule
    whole_graph: fx.GraphModule
    output_spec: TreeSpec
    analysis: Analysis
    approximations: list[str]
    fallbacks: list[str]


def prepare(
    model: nn.Module,
    clip_shapes: Sequence[ClipShape],
    *,
    window: int | None = None,
    scope: Scope = "frame",
    fallback: bool = False,
) -> Prepared:
    """Capture a network, simplify it, and find the temporal type of each of its values.

    Raises:
        ConversionError: operators that cannot run frame by frame (all of them are listed), or a
            model that torch.export cannot capture.
    """
    captured = capture(model, clip_shapes, free_batch=fallback)
    return prepare_captured(
        captured, clip_shapes[0][1], window=window, scope=scope, fallback=fallback
    )


def prepare_captured(
    captured: Captured,
    clip_frames: int,
    *,
    window: int | None = None,
    scope: Scope = "frame",
    fallback: bool = False,
) -> Prepared:
    """Simplify a captured network, in place, and type it: the rest of `prepare`."""
    clip_graph = captured.clip_graph
    for run_pass in EXACT_PASSES:
        run_pass(clip_graph)
    free_batch(clip_graph, EXPORT_BATCH)
    approximations = even_out_frame_picking(clip_graph) + fix_adaptive_pools(clip_graph)
    propagate_shapes(clip_graph)
    analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    refusals: dict[fx.Node, UnsupportedError] = {}
    while analysis.gates:
        localised, refused = localise_gates(clip_graph, analysis.gates, scope)
        approximations += localised
        refusals |= refused
        propagate_shapes(clip_graph)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH, refusals=refusals)
    fallbacks: list[str] = []
    if analysis.problems and fallback:
        fallbacks = [problem.describe() for problem in analysis.problems]
        _cut(clip_graph, analysis)
        propagate_shapes(clip_graph)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    _require_steps(clip_graph, analysis)
    whole = _copy(clip_graph)
    if convolve_space_first(clip_graph, analysis):
        propagate_shapes(clip_graph)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    if window is not None:
        windows = _scale_windows(window, analysis)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH, windows)
    for graph in (clip_graph, whole):
        _drop_unread(graph)
    return Prepared(clip_graph, whole, captured.output_spec, analysis, approximations, fallbacks)


def _copy(clip_graph: fx.GraphModule) -> fx.GraphModule:
    copied = fx.Graph()
    copied.output(copied.graph_copy(clip_graph.graph, {}))
    return fx.GraphModule(clip_graph, copied)


def _drop_unread(clip_graph: fx.GraphModule) -> None:
    """Remove what no output depends on, and constants that nothing reads."""
    clip_graph.graph.eliminate_dead_code()
    read = {str(node.target) for node in clip_graph.graph.nodes if node.op == "get_attr"}
    for name in {name for name, _ in clip_graph.named_buffers(remove_duplicate=False)} - read:
        delattr(clip_graph, name)
    clip_graph.recompile()


def _require_steps(clip_graph: fx.GraphModule, analysis: Analysis) -> None:
    problems = analysis.problems
    if problems:
        count = len(problems)
        raise ConversionError(
            f"cannot convert: {count} operator{'s' * (count > 1)} cannot run frame by frame:\n"
            + "\n".join(f"  {problem.describe()}" for problem in problems)
            + "\n  or convert with fallback=True: these operators and all that follows them then "
            "run on the newest clip at every step"
        )
    if len(analysis.results) != len(output_nodes(clip_graph)):
        raise ConversionError(
            "cannot convert: an output does not depend on the clip; return only what does"
        )


def _cut(clip_graph: fx.GraphModule, analysis: Analysis) -> None:
    """Gather whole clips in front of everything that depends on an operator without a step form."""
    graph = clip_graph.graph
    rerun: set[fx.Node] = {problem.node for problem in analysis.problems}
    for node in graph.nodes:
        if node.op == "call_function" and any(n in rerun for n in node.all_input_nodes):
            rerun.add(node)
    for node in list(graph.nodes):
        readers = [user for user in node.users if user in rerun]
        if node not in analysis.types or node in rerun or not readers:
            continue
        with graph.inserting_after(node):
            gathered = graph.call_function(collect_clip, (node,))
        gathered.meta = dict(node.meta)
        for reader in readers:
            reader.replace_input_with(node, gathered)


def _scale_windows(window: int, analysis: Analysis) -> dict[str, int]:
    """The window of every global pool: `window` for the slowest pathway, more for faster ones."""
    if not analysis.windows:
        raise ConversionError(
            f"cannot convert with window={window}: the network has no pool over time for it to "
            "slide; leave window out"
        )
    if analysis.fixed_windows:
        raise ConversionError(
            f"cannot convert with window={window}: the fallback reruns a part of the network that "
            "takes as many frames as the clip has; leave window out"
        )
    strides = {n.name: t.stride for n, t in analysis.types.items() if n.name in analysis.windows}
    slowest = max(strides.values())
    return {name: window * slowest // stride for name, stride in strides.items()}
