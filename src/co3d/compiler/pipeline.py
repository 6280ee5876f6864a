"""The pipeline of conversion, stage by stage; whatever converts a network runs these.

    capture ─> run exact passes ─> rewrite ─> analyse ─> settle timing ─> assemble

`convert` runs it whole; verification, features and training step in between its stages.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import fx, nn

from co3d.compiler.analyse import Analysis, analyse, output_nodes
from co3d.compiler.assemble import assemble
from co3d.compiler.capture import EXPORT_BATCH, Captured, ClipShape, capture
from co3d.compiler.options import ConvertOptions
from co3d.compiler.passes import (
    convolve_space_first,
    drop_noops,
    fold_batch_norm,
    fold_constants,
    free_batch,
    fuse_time_pads,
    split_lists,
    split_pools,
    write_as_pads,
    write_frame_picks,
    write_stacks,
)
from co3d.compiler.passes.result import PassResult
from co3d.compiler.prepared import Prepared
from co3d.compiler.program import StepProgram
from co3d.compiler.rewrites import (
    collect_clips,
    even_out_frame_picking,
    fix_adaptive_pools,
    localise_gates,
)
from co3d.compiler.rules import UnsupportedError
from co3d.compiler.run_pass import run_pass
from co3d.compiler.schedule import count_phase_macs, spreads
from co3d.errors import ConversionError

EXACT_PASSES = (
    drop_noops,
    fold_constants,
    split_lists,
    write_stacks,
    write_as_pads,
    fold_constants,
    write_frame_picks,
    fuse_time_pads,
    fold_batch_norm,
    split_pools,
)


def compile_network(
    model: nn.Module, clip_shapes: Sequence[ClipShape], options: ConvertOptions
) -> StepProgram:
    """Run the whole pipeline.

    Raises:
        ConversionError: operators that cannot run frame by frame (all of them are listed), or a
            model that torch.export cannot capture.
        InternalError: a pass failed.
    """
    return assemble(settle_timing(prepare(model, clip_shapes, options)))


def prepare(
    model: nn.Module, clip_shapes: Sequence[ClipShape], options: ConvertOptions
) -> Prepared:
    """Run the stages from the capture to the analysis.

    Raises:
        ConversionError, InternalError: as for `compile_network`.
    """
    captured = capture(model, clip_shapes, free_batch=options.fallback)
    return prepare_captured(captured, type(model).__name__, clip_shapes, options)


def prepare_captured(
    captured: Captured, name: str, clip_shapes: Sequence[ClipShape], options: ConvertOptions
) -> Prepared:
    """Run the stages from the exact passes to the analysis, on a captured graph in place.

    Args:
        captured: from `capture`.
        name: of the network.
        clip_shapes: that it was captured for.
        options: of the conversion.

    Raises:
        ConversionError, InternalError: as for `compile_network`.
    """
    clip_graph, clip_frames = captured.clip_graph, clip_shapes[0][1]
    run_exact_passes(clip_graph)
    analysis, approximations, fallbacks = _rewrite(clip_graph, clip_frames, options)
    run_pass(clip_graph, free_batch, analysis)
    whole = _copy(clip_graph)
    if run_pass(clip_graph, convolve_space_first, analysis).changed:
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    if options.window is not None:
        windows = _scale_windows(options.window, analysis)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH, windows)
    for graph in (clip_graph, whole):
        _drop_unread(graph)
    return Prepared(
        name,
        tuple(clip_shapes),
        options,
        clip_graph,
        whole,
        captured.output_spec,
        analysis,
        approximations,
        fallbacks,
    )


def run_exact_passes(clip_graph: fx.GraphModule) -> None:
    """Simplify a captured graph in place, so that it computes the same.

    Raises:
        InternalError: a pass failed.
    """
    for change in EXACT_PASSES:
        run_pass(clip_graph, change)


def settle_timing(prepared: Prepared) -> Prepared:
    """Settle when each value is made: as soon as it can be, or spread evenly over the period.

    Takes the gentlest spread that holds its limit; the most even one where none does.
    """
    if not prepared.options.spread or prepared.analysis.period == 1:
        return prepared
    again = partial(
        analyse,
        prepared.clip_graph,
        prepared.clip_frames,
        EXPORT_BATCH,
        prepared.analysis.windows,
    )
    tried: list[tuple[int, Analysis]] = []
    for trial in spreads(prepared.analysis):
        analysis = again(postpone=trial)
        macs = count_phase_macs(analysis)
        tried.append((max(macs), analysis))
        if max(macs) * len(macs) <= trial.limit * sum(macs):
            return replace(prepared, analysis=analysis)
    return replace(prepared, analysis=min(tried, key=lambda pair: pair[0])[1])


def _rewrite(
    clip_graph: fx.GraphModule, clip_frames: int, options: ConvertOptions
) -> tuple[Analysis, tuple[str, ...], tuple[str, ...]]:
    """Rewrite what a stream cannot do, until every operator has a step form.

    Returns:
        The analysis, the approximations, and the operators that a fallback reruns.
    """
    results: list[PassResult] = []
    for change in (even_out_frame_picking, fix_adaptive_pools):
        results.append(run_pass(clip_graph, change))
    analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    refusals: dict[fx.Node, UnsupportedError] = {}
    while analysis.gates:
        run_pass(clip_graph, free_batch, analysis)  # a gate per frame is folded into the batch
        results.append(run_pass(clip_graph, localise_gates, analysis, options.scope))
        refusals |= results[-1].refusals
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH, refusals=refusals)
    fallbacks: tuple[str, ...] = ()
    if analysis.problems and options.fallback:
        fallbacks = tuple(problem.describe() for problem in analysis.problems)
        run_pass(clip_graph, collect_clips, analysis)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    _require_steps(clip_graph, analysis)
    approximations = tuple(line for result in results for line in result.approximations)
    return analysis, approximations, fallbacks


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
