"""The pipeline of conversion, stage by stage; whatever converts a network runs these.

    capture ─> run exact passes ─> rewrite ─> analyse ─> settle timing ─> assemble

`convert` runs it whole; verification, features and training step in between its stages.
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

# Of the multiply-accumulates of a clip: where a cut saves less, the whole network is rerun.
_NEARLY = 0.9
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
    why = _find_no_gain(prepared)
    if why is not None:
        return _rerun_whole(model, clip_shapes, options, (*prepared.fallbacks, why))
    return prepared


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
    if captured.unlike is not None:
        # The graph could be cut, but what is rerun of it would be for the captured batch.
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
        _require_forgetting(analysis)
    return Prepared(
        name,
        tuple(clip_shapes),
        options,
        clip_graph,
        whole,
        captured.output_spec,
        analysis,
        (*_list_remembered(captured), *approximations),
        fallbacks,
    )


def _rerun_whole(
    model: nn.Module,
    clip_shapes: Sequence[ClipShape],
    options: ConvertOptions,
    fallbacks: tuple[str, ...],
) -> Prepared:
    """The whole network rerun on the newest clip of one stream, without a word about axes.

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
        _list_remembered(captured),
        fallbacks,
        batch=1,
    )


def _find_no_gain(prepared: Prepared) -> str | None:
    """Why it is no use to rerun a part of a network; None where it is of use."""
    whole = count_clip_macs(prepared.analysis, prepared.batch)
    if count_recomputed_macs(prepared.analysis) >= _NEARLY * whole:
        return "so nearly all of it that the whole network is rerun"
    shapes = [tuple(node.meta["val"].shape) for node in output_nodes(prepared.clip_graph)]
    if any(shape[:1] != (prepared.batch,) for shape in shapes):
        return "the whole network is rerun, as an output has no row for each stream"
    return None


def _describe_failure(error: Exception, captured: Captured) -> str:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    if captured.unlike is not None:
        reason = captured.unlike
    return f"the whole network, for no part of it can be told apart: {reason}"


def _list_remembered(captured: Captured) -> tuple[str, ...]:
    """What a network that keeps something from clip to clip does otherwise as a stream."""
    return tuple(
        f"{name}: its forward changes this buffer; here it is for every clip as it was at "
        "conversion"
        for name in captured.remembered
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
    """Rewrite what a stream cannot do, until every operator has a step form.

    Returns:
        The analysis, the approximations, and the operators that a fallback reruns.
    """
    results: list[PassResult] = []
    for change in (even_out_frame_picking, fix_adaptive_pools):
        results.append(run_pass(clip_graph, change))
    analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    while run_pass(clip_graph, roll_loops, analysis).changed:
        analysis = analyse(clip_graph, clip_frames, EXPORT_BATCH)
    refusals: dict[fx.Node, UnsupportedError] = {}
    while analysis.norms or analysis.gates or (analysis.problems and options.scope == "window"):
        if analysis.norms:  # gates behind one that is refused may be rerun on whole clips
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
        lines = [f"cannot convert: {count} operator{'s' * (count > 1)} cannot run frame by frame:"]
        lines += [f"  {problem.describe()}" for problem in problems]
        if analysis.has_unexamined:
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
    """Native where time is enlarged: which elements a step makes depends on the frame's number.

    Raises:
        ConversionError: then not every frame would have a result, as was asked for.
    """
    if not analysis.enlarging or not options.is_dense:
        return options
    stride = analysis.timing.stride
    if stride > 1:
        origin = analysis.enlarging[0].meta["origin"]
        raise ConversionError(
            f'cannot convert with rate="dense": {origin.module_path or "the model"} enlarges time, '
            "so that the network must run at its own pace, where a result comes every "
            f'{stride} frames; use rate="native"'
        )
    return replace(options, rate="native")


def _require_forgetting(analysis: Analysis) -> None:
    """Without masks what comes before the first frame is wrong, and a recurrence keeps it forever.

    One that begins with the first frame, of values that see no other, is right without masks.
    """
    for node, lowering in analysis.lowerings.items():
        if not any(use.recurrent for use in lowering.uses):
            continue
        if lowering.type.lookback or lowering.type.delay:
            problem = Problem(
                node,
                "it remembers all that came before, and with edges='none' also what the network "
                "makes of the padding before the first frame",
                "convert with edges='start', whose steps without masks are the same once the "
                "stream is older than the delay",
            )
            raise ConversionError(f"cannot convert: {problem.describe()}")


def _scale_windows(window: int, analysis: Analysis) -> dict[str, int]:
    """The window of every global pool: `window` for the slowest pathway, more for faster ones."""
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
