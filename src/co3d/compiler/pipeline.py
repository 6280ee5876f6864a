"""The stages of the conversion pipeline.

    capture ─> run exact passes ─> rewrite ─> analyse ─> settle timing ─> assemble

`convert` runs all stages; verification, features and training use some of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import fx, nn

from co3d.compiler.analyse import Analysis, Problem, analyse, output_nodes
from co3d.compiler.assemble import assemble
from co3d.compiler.capture import EXPORT_BATCH, Captured, ClipShape, capture
from co3d.compiler.options import ConvertOptions
from co3d.compiler.passes import (
    convolve_space_first,
    drop_noops,
    fold_batch_norm,
    fold_constants,
    fold_unpools,
    free_batch,
    fuse_time_pads,
    keep_batch_first,
    pick_before_permutes,
    reduce_before_folds,
    roll_loops,
    share_rows,
    split_lists,
    split_pools,
    write_as_pads,
    write_compositions,
    write_frame_picks,
    write_recurrences,
    write_stacks,
)
from co3d.compiler.passes.result import PassResult
from co3d.compiler.prepared import Prepared
from co3d.compiler.program import StepProgram
from co3d.compiler.rewrites import (
    collect_clips,
    collect_inputs,
    even_out_frame_picking,
    fix_adaptive_pools,
    localise_gates,
    slide_attention,
    slide_norms,
)
from co3d.compiler.rules import UnsupportedError
from co3d.compiler.run_pass import run_pass
from co3d.compiler.schedule import (
    count_clip_macs,
    count_phase_macs,
    count_recomputed_macs,
    spreads,
)
from co3d.errors import ConversionError

# If a fallback would rerun a larger fraction of the clip's multiply-accumulates, the whole network
# is rerun instead.
_MOST_RERUN = 0.9
EXACT_PASSES = (
    drop_noops,
    fold_constants,
    write_recurrences,
    keep_batch_first,
    split_lists,
    pick_before_permutes,
    write_compositions,
    fold_unpools,
    write_stacks,
    write_as_pads,
    fold_constants,
    share_rows,
    write_frame_picks,
    fuse_time_pads,
    reduce_before_folds,
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
    name = type(model).__name__
    captured = capture(model, clip_shapes, free_batch=options.fallback)
    if not options.fallback:
        return prepare_captured(captured, name, clip_shapes, options)
    try:
        prepared = prepare_captured(captured, name, clip_shapes, options)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - what stops a part need not stop the whole
        return _rerun_whole(model, clip_shapes, options, (_describe_failure(error, captured),))
    if not prepared.fallbacks:
        return prepared
    why = _explain_useless_cut(prepared)
    if why is not None:
        return _rerun_whole(model, clip_shapes, options, (*prepared.fallbacks, why))
    return prepared


def prepare_captured(
    captured: Captured, name: str, clip_shapes: Sequence[ClipShape], options: ConvertOptions
) -> Prepared:
    """Run the stages from the exact passes to the analysis, on a captured graph in place.

    Args:
        captured: from `capture`.
        name: name of the network.
        clip_shapes: the clip shapes of the capture.
        options: options of the conversion.

    Raises:
        ConversionError, InternalError: as for `compile_network`.
    """
    clip_graph, clip_frames = captured.clip_graph, clip_shapes[0][1]
    if captured.fixed_batch_reason is not None:
        # The rerun part would be fixed to the captured batch size.
        options = replace(options, fallback=False)
    run_exact_passes(clip_graph)
    analysis, approximations, fallbacks = _rewrite(clip_graph, clip_frames, options)
    run_pass(clip_graph, free_batch, analysis)
    whole = _copy(clip_graph)
    if run_pass(clip_graph, convolve_space_first, analysis).changed:
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    options = _settle_rate(options, analysis)
    if options.window is not None:
        windows = _scale_windows(options.window, analysis)
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH, windows)
    for graph in (clip_graph, whole):
        _drop_unread(graph)
    if options.edges == "none":
        _check_recurrences(analysis)
    return Prepared(
        name,
        tuple(clip_shapes),
        options,
        clip_graph,
        whole,
        captured.output_spec,
        analysis,
        (*_describe_changed_buffers(captured), *approximations),
        fallbacks,
    )


def _rerun_whole(
    model: nn.Module,
    clip_shapes: Sequence[ClipShape],
    options: ConvertOptions,
    fallbacks: tuple[str, ...],
) -> Prepared:
    """Prepare to rerun the whole network on the newest clip of one stream, whatever its axes.

    Raises:
        ConversionError, InternalError: as for `compile_network`.
    """
    captured, clip_frames = capture(model, clip_shapes, batch=1), clip_shapes[0][1]
    clip_graph = captured.clip_graph
    for change in (drop_noops, fold_constants, collect_inputs):
        run_pass(clip_graph, change)
    analysis = analyse(clip_graph, clip_frames, 1)
    _require_steps(clip_graph, analysis)
    if options.window is not None:
        _scale_windows(options.window, analysis)  # which refuses it
    _drop_unread(clip_graph)
    return Prepared(
        type(model).__name__,
        tuple(clip_shapes),
        options,
        clip_graph,
        clip_graph,
        captured.output_spec,
        analysis,
        _describe_changed_buffers(captured),
        fallbacks,
        batch=1,
    )


def _explain_useless_cut(prepared: Prepared) -> str | None:
    """Why rerunning a part of a network has no advantage over all of it; None where it has."""
    whole = count_clip_macs(prepared.analysis, prepared.batch)
    if count_recomputed_macs(prepared.analysis) >= _MOST_RERUN * whole:
        return "the whole network is rerun, as nearly all of it would be"
    shapes = [tuple(node.meta["val"].shape) for node in output_nodes(prepared.clip_graph)]
    if any(shape[:1] != (prepared.batch,) for shape in shapes):
        return "the whole network is rerun, as an output has no row for each stream"
    return None


def _describe_failure(error: Exception, captured: Captured) -> str:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    if captured.fixed_batch_reason is not None:
        reason = captured.fixed_batch_reason
    return f"the whole network, as it cannot be cut: {reason}"


def _describe_changed_buffers(captured: Captured) -> tuple[str, ...]:
    """Describe how the program differs from a network that changes its buffers in forward."""
    return tuple(
        f"{name}: its forward changes this buffer, which here keeps its value at conversion"
        for name in captured.changed_buffers
    )


def run_exact_passes(clip_graph: fx.GraphModule) -> None:
    """Simplify a captured graph in place, so that it computes the same.

    Raises:
        InternalError: a pass failed.
    """
    for change in EXACT_PASSES:
        run_pass(clip_graph, change)


def settle_timing(prepared: Prepared) -> Prepared:
    """Choose the tick of each value: its earliest one, or with `spread` an evenly loaded one.

    Uses the spread with the least postponement that keeps its limit, or the most even one if none
    does.
    """
    if not prepared.options.spread or prepared.analysis.period == 1:
        return prepared
    again = partial(
        analyse,
        prepared.clip_graph,
        prepared.clip_frames,
        prepared.batch,
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
    """Apply the rewrites until every operator has a step form.

    Returns:
        The analysis, the approximations, and the operators from which on a fallback reruns.
    """
    results: list[PassResult] = []
    for change in (even_out_frame_picking, fix_adaptive_pools):
        results.append(run_pass(clip_graph, change))
    analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    while run_pass(clip_graph, roll_loops, analysis).changed:
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    refusals: dict[fx.Node, UnsupportedError] = {}
    while analysis.norms or analysis.gates or (analysis.problems and options.scope == "window"):
        if analysis.norms:  # gates after a refused one may be rerun on whole clips
            result = run_pass(clip_graph, slide_norms, analysis, options.scope)
        elif analysis.gates:
            run_pass(clip_graph, free_batch, analysis)  # a gate per frame is folded into the batch
            result = run_pass(clip_graph, localise_gates, analysis, options.scope)
        else:
            result = run_pass(clip_graph, slide_attention, analysis)
            if not result.changed:
                break
        results.append(result)
        refusals |= result.refusals
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
    """Remove nodes that no output depends on, and unused constants."""
    clip_graph.graph.eliminate_dead_code()
    read = {str(node.target) for node in clip_graph.graph.nodes if node.op == "get_attr"}
    for name in {name for name, _ in clip_graph.named_buffers(remove_duplicate=False)} - read:
        delattr(clip_graph, name)
    clip_graph.recompile()


def _require_steps(clip_graph: fx.GraphModule, analysis: Analysis) -> None:
    problems = analysis.problems
    if problems:
        count = len(problems)
        lines = [f"cannot convert: {count} operator{'s' * (count > 1)} cannot run frame by frame:"]
        lines += [f"  {problem.describe()}" for problem in problems]
        if analysis.has_unanalysed:
            lines.append("  what follows them was not examined")
        lines.append(
            "  or convert with fallback=True: these operators and all that follows them then run "
            "on the newest clip at every step"
        )
        raise ConversionError("\n".join(lines))
    if len(analysis.results) != len(output_nodes(clip_graph)):
        raise ConversionError(
            "cannot convert: an output does not depend on the clip; return only what does"
        )


def _settle_rate(options: ConvertOptions, analysis: Analysis) -> ConvertOptions:
    """Set the native rate if an operator enlarges time: its step depends on the frame's number.

    Raises:
        ConversionError: rate="dense" was asked for, but not every frame would have a result.
    """
    if not analysis.enlarging or not options.is_dense:
        return options
    stride = analysis.timing.stride
    if stride > 1:
        origin = analysis.enlarging[0].meta["origin"]
        raise ConversionError(
            f'cannot convert with rate="dense": {origin.module_path or "the model"} enlarges time, '
            "so that the network must run at its native rate, with a result every "
            f'{stride} frames; use rate="native"'
        )
    return replace(options, rate="native")


def _check_recurrences(analysis: Analysis) -> None:
    """Refuse recurrences with edges="none", whose values before the first frame are wrong forever.

    A recurrence whose inputs see no frame before the first one, and have no delay, is correct.
    """
    for node, lowering in analysis.lowerings.items():
        if not any(use.recurrent for use in lowering.uses):
            continue
        if lowering.type.lookback or lowering.type.delay:
            problem = Problem(
                node,
                "it depends on all values before, with edges='none' also on wrong ones from before "
                "the first frame",
                "convert with edges='start', whose steps without masks are the same once the "
                "stream is older than the delay",
            )
            raise ConversionError(f"cannot convert: {problem.describe()}")


def _scale_windows(window: int, analysis: Analysis) -> dict[str, int]:
    """The window of each global pool: `window` at the largest stride, longer at smaller ones."""
    if not analysis.windows:
        raise ConversionError(
            f"cannot convert with window={window}: the network has no pool over time for it to "
            "slide; leave window out"
        )
    if analysis.fixed_windows:
        raise ConversionError(
            f"cannot convert with window={window}: the network picks frames of the clip, mixes all "
            "of them, or has a part that is rerun on them, and so takes as many as the clip has; "
            "leave window out"
        )
    strides = {n.name: t.stride for n, t in analysis.types.items() if n.name in analysis.windows}
    slowest = max(strides.values())
    return {name: window * slowest // stride for name, stride in strides.items()}
