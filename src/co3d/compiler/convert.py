"""Conversion: a clip network becomes a step program."""

import operator
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from co3d.compiler.analyse import Analysis, analyse, output_nodes
from co3d.compiler.capture import EXPORT_BATCH, ClipShape
from co3d.compiler.emit import StepBuilder
from co3d.compiler.explain import tabulate
from co3d.compiler.prepare import Prepared, prepare
from co3d.compiler.program import Edges, Phase, Rate, Scope, StepProgram
from co3d.compiler.schedule import count_phase_macs, spreads
from co3d.compiler.states import StateKey, plan_states
from co3d.compiler.temporal import StateSpec
from co3d.errors import OptionError


def convert(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    window: int | None = None,
    rate: Rate = "dense",
    scope: Scope = "frame",
    edges: Edges = "start",
    fallback: bool = False,
    spread: bool = False,
) -> StepProgram:
    """Derive the step program of a clip network (arXiv:2106.00050, for any network).

    Args:
        model: takes clips (N, C, T, H, W), returns a tensor, or a tuple or dict of tensors;
            converted in evaluation mode, with the weights that it has now. The model itself is
            left as it is.
        clip_shape: (C, T, H, W) of the clips that it was trained on; one such shape per input, all
            of the same T, for models that take several.
        window: elements that its pool over time averages, sliding (of its slowest pathway, where
            there are several); by default as many as the training clip had. Longer windows cost
            state, not computation.
        rate: "dense" gives a result at every frame: strides in time become dilations, as if the
            clip were slid along by one frame. "native" gives one every `temporal_stride` frames,
            and does no work in between for what follows a stride.
        scope: what a gate inside the network (squeeze-and-excitation) pools instead of the whole
            clip: the current "frame", or a "window" of as many newest frames as the clip had.
        edges: "start" reproduces the clip's padding before the first frame (for live streams);
            "both" also its end, so that N steps and a `flush` equal the clip network on N frames;
            "none" neither, the steady program alone.
        fallback: rerun what has no step form (attention over time, a GRU, a flatten over time),
            and all that follows it, on the newest clip at every step.
        spread: with rate="native", postpone work to frames that have less to do, so that no step
            costs more than 1.5 times the mean where the graph allows it. Results come some frames
            later.

    Returns:
        The step program. With edges="both" its steps and flush equal `program.clip_graph`, the
        model after the rewrites that `program.approximations` lists.

    Raises:
        ConversionError: operators that cannot run frame by frame (all of them are listed), or a
            model that torch.export cannot capture.
        OptionError: an option outside its range.
    """
    shapes = check_clip_shapes(clip_shape)
    check_options(window=window, rate=rate, scope=scope, edges=edges, spread=spread)
    prepared = prepare(model, shapes, window=window, scope=scope, fallback=fallback)
    analysis = settle_timing(prepared, shapes[0][1], spread=spread)
    return assemble(type(model).__name__, shapes, rate, edges, prepared, analysis)


def check_clip_shapes(
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
) -> tuple[ClipShape, ...]:
    """One (C, T, H, W) per input; OptionError for anything else."""
    several = len(clip_shape) > 0 and isinstance(clip_shape[0], Sequence)
    given: Any = clip_shape if several else [clip_shape]
    shapes: tuple[ClipShape, ...] = tuple(tuple(shape) for shape in given)
    for shape in shapes:
        if len(shape) != 4 or any(operator.index(size) < 1 for size in shape):
            raise OptionError(
                f"cannot convert: got clip_shape {tuple(clip_shape)}, expected four positive sizes "
                "(C, T, H, W), without the batch, or one such shape per input; e.g. "
                "model.card.clip_shape"
            )
    if len({shape[1] for shape in shapes}) != 1:
        raise OptionError(
            f"cannot convert: got inputs of {', '.join(str(s[1]) for s in shapes)} frames, "
            "expected one length: a step takes one frame of each; wrap the model in one that picks "
            "every n-th frame itself (x[:, :, ::n])"
        )
    return shapes


def check_options(
    *, window: int | None, rate: str, scope: str, spread: bool, edges: str = "both"
) -> None:
    """OptionError unless every option of `convert` is in its range."""
    if window is not None and operator.index(window) < 1:
        raise OptionError(
            f"cannot convert: got window {window}, expected at least 1 frame; leave it out for "
            "the training clip's length"
        )
    choices = {
        "rate": (rate, ("dense", "native")),
        "scope": (scope, ("frame", "window")),
        "edges": (edges, ("start", "both", "none")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            *first, last = map(repr, allowed)
            raise OptionError(
                f"cannot convert: got {name}={value!r}, expected {', '.join(first)} or {last}"
            )
    if spread and rate != "native":
        raise OptionError(
            f"cannot convert: got spread=True with rate={rate!r}, where all steps cost the same; "
            'use it with rate="native"'
        )


def settle_timing(prepared: Prepared, clip_frames: int, *, spread: bool) -> Analysis:
    """When each value is made: as soon as it can be, or spread evenly over the period.

    Takes the gentlest spread that holds its limit; the most even one where none does.
    """
    if not spread or prepared.analysis.period == 1:
        return prepared.analysis
    again = partial(
        analyse, prepared.clip_graph, clip_frames, EXPORT_BATCH, prepared.analysis.windows
    )
    tried = []
    for trial in spreads(prepared.analysis):
        analysis = again(postpone=trial)
        macs = count_phase_macs(analysis)
        tried.append((max(macs), analysis))
        if max(macs) * len(macs) <= trial.limit * sum(macs):
            return analysis
    return min(tried, key=lambda pair: pair[0])[1]


def assemble(
    name: str,
    clip_shapes: tuple[ClipShape, ...],
    rate: Rate,
    edges: Edges,
    prepared: Prepared,
    analysis: Analysis,
) -> StepProgram:
    """Emit the step graphs of an analysed network, and gather all that is known of it."""
    clip_graph, dense = prepared.clip_graph, rate == "dense"
    states = plan_states(analysis, dense=dense)
    outputs = output_nodes(clip_graph)
    lowerings = analysis.lowerings
    phases = _build_phases(prepared, analysis, states, rate, edges)
    recomputed = sum(low.macs for low in lowerings.values() if low.type.recomputed)
    return StepProgram(
        name=name,
        frame_shapes=tuple((shape[0], *shape[2:]) for shape in clip_shapes),
        output_shapes=tuple(
            analysis.types[n].frame_shape(tuple(n.meta["val"].shape)) for n in outputs
        ),
        output_spec=prepared.output_spec,
        dtype=next(n for n in clip_graph.graph.nodes if n.op == "placeholder").meta["val"].dtype,
        timing=analysis.timing,
        window=min(analysis.windows.values(), default=None),
        rate=rate,
        edges=edges,
        states=tuple(states.values()),
        phases=phases,
        masked_steps=0 if edges == "none" else _count_masked_steps(analysis, states),
        macs_per_frame=round(sum(phase.macs for phase in phases) / len(phases)),
        clip_macs=_count_clip_macs(analysis),
        recomputed_macs=recomputed // (1 if dense else analysis.timing.stride),
        clip_frames=clip_shapes[0][1],
        approximations=tuple(prepared.approximations),
        fallbacks=tuple(prepared.fallbacks),
        clip_graph=prepared.whole_graph,
        rows=tabulate(analysis, states),
    )


def _build_phases(
    prepared: Prepared,
    analysis: Analysis,
    states: dict[StateKey, StateSpec],
    rate: Rate,
    edges: Edges,
) -> tuple[Phase, ...]:
    phases = []
    dense = rate == "dense"
    for phase in [None] if dense else range(analysis.period):
        graphs = []
        for masked in (False, True) if edges != "none" else (False,):
            builder = StepBuilder(analysis, states, masked, edges == "both", phase)
            graphs.append(builder.build(prepared.clip_graph, analysis.results))
        due = [low for low in analysis.lowerings.values() if dense or low.type.is_due(phase or 0)]
        phases.append(
            Phase(
                steady=graphs[0],
                masked=graphs[1] if len(graphs) > 1 else None,
                updates=tuple(
                    i
                    for i, (node, _) in enumerate(states)
                    if dense or analysis.types[node].is_due(phase or 0)
                ),
                is_fresh=dense or analysis.timing.is_due(phase or 0),
                macs=sum(low.macs for low in due),
            )
        )
    return tuple(phases)


def _count_masked_steps(analysis: Analysis, states: dict[StateKey, StateSpec]) -> int:
    """Until when some reading may lie before the first frame, or a window is not yet full."""
    types = analysis.types
    masked = {node for node, _ in states}
    masked |= {
        u.node for low in analysis.lowerings.values() for u in low.uses if u.fill is not None
    }
    steps = max((types[node].delay for node in masked), default=0)
    for low in analysis.lowerings.values():
        if low.counts:
            steps = max(steps, *(types[use.node].delay + use.back for use in low.uses))
    return steps


def _count_clip_macs(analysis: Analysis) -> int:
    """What the clip network computes for one clip."""
    total = 0
    for node, lowering in analysis.lowerings.items():
        axis = lowering.type.axis
        if lowering.macs:
            size = 1 if axis is None else node.meta["val"].shape[axis]
            total += lowering.macs * (size // EXPORT_BATCH if axis == 0 else size)
    return total
