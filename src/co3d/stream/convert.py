"""Conversion: a clip network becomes a step program."""

import operator
from collections.abc import Sequence

import torch
from torch import fx, nn

from co3d.errors import ConversionError, OptionError
from co3d.stream.analyse import Analysis, analyse
from co3d.stream.capture import capture, propagate_shapes
from co3d.stream.emit import StateKey, StepBuilder, plan_states
from co3d.stream.passes import (
    drop_noops,
    fold_batch_norm,
    fold_constants,
    free_batch,
    split_pools,
)
from co3d.stream.program import Edges, StepProgram, ValueTiming
from co3d.stream.rewrites import even_out_frame_picking, pool_gates_per_frame
from co3d.stream.temporal import StateSpec


def convert(
    model: nn.Module,
    clip_shape: Sequence[int],
    *,
    window: int | None = None,
    edges: Edges = "start",
) -> StepProgram:
    """Derive the step program of a clip network (arXiv:2106.00050, for any network).

    Args:
        model: takes clips (N, C, T, H, W), returns one tensor; converted in evaluation mode, with
            the weights that it has now. The model itself is left as it is.
        clip_shape: (C, T, H, W) of the clips that it was trained on.
        window: elements that its pool over time averages, sliding (of its slowest pathway, where
            there are several); by default as many as the training clip had. Longer windows cost
            state, not computation.
        edges: "start" reproduces the clip's padding before the first frame (for live streams);
            "both" also its end, so that N steps and a `flush` equal the clip network on N frames;
            "none" neither, the steady program alone.

    Returns:
        The step program. With edges="both" its steps and flush equal `program.clip_graph`, the
        model after the rewrites that `program.approximations` lists.

    Raises:
        ConversionError: operators that cannot run frame by frame (all of them are listed), or a
            model that torch.export cannot capture.
        OptionError: an option outside its range.
    """
    shape = _check_options(clip_shape, window, edges)
    clip_graph = capture(model, shape)
    for run_pass in (drop_noops, fold_constants, fold_batch_norm, split_pools, propagate_shapes):
        run_pass(clip_graph)
    free_batch(clip_graph)
    approximations = even_out_frame_picking(clip_graph)
    analysis = analyse(clip_graph, shape[1])
    while analysis.gates:
        approximations += pool_gates_per_frame(clip_graph, analysis.gates)
        propagate_shapes(clip_graph)
        analysis = analyse(clip_graph, shape[1])
    if window is not None:
        analysis = analyse(clip_graph, shape[1], _scale_windows(window, analysis))
    clip_graph.graph.eliminate_dead_code()
    clip_graph.delete_all_unused_submodules()
    clip_graph.recompile()
    return _assemble(type(model).__name__, shape, edges, clip_graph, analysis, approximations)


def _assemble(
    name: str,
    clip_shape: tuple[int, int, int, int],
    edges: Edges,
    clip_graph: fx.GraphModule,
    analysis: Analysis,
    approximations: list[str],
) -> StepProgram:
    states = plan_states(analysis)
    source = next(n for n in clip_graph.graph.nodes if n.op == "placeholder")
    result = next(n for n in clip_graph.graph.nodes if n.op == "output").args[0]
    timing = analysis.types[result]
    steady = StepBuilder(analysis, states, masked=False, with_end=False).build(clip_graph)
    masked = None
    if edges != "none":
        masked = StepBuilder(analysis, states, masked=True, with_end=edges == "both").build(
            clip_graph
        )
    dtype = source.meta["val"].dtype
    window = min(analysis.windows.values(), default=None)
    return StepProgram(
        name=name,
        frame_shape=(clip_shape[0], *clip_shape[2:]),
        output_shape=tuple(
            s for d, s in enumerate(result.meta["val"].shape) if d not in (0, timing.axis)
        ),
        dtype=dtype,
        timing=timing,
        window=window,
        edges=edges,
        states=tuple(states.values()),
        steady=steady,
        masked=masked,
        masked_steps=0 if edges == "none" else _count_masked_steps(analysis, states),
        macs_per_frame=sum(lowering.macs for lowering in analysis.lowerings.values()),
        clip_macs=sum(
            lowering.macs * _clip_elements(node, analysis)
            for node, lowering in analysis.lowerings.items()
        ),
        clip_frames=clip_shape[1],
        approximations=tuple(approximations),
        clip_graph=clip_graph,
        rows=_tabulate(analysis, states, dtype),
    )


def _check_options(
    clip_shape: Sequence[int], window: int | None, edges: str
) -> tuple[int, int, int, int]:
    if len(clip_shape) != 4 or any(operator.index(size) < 1 for size in clip_shape):
        raise OptionError(
            f"cannot convert: got clip_shape {tuple(clip_shape)}, expected four positive sizes "
            "(C, T, H, W), without the batch; e.g. model.card.clip_shape"
        )
    if window is not None and operator.index(window) < 1:
        raise OptionError(
            f"cannot convert: got window {window}, expected at least 1 frame; leave it out for "
            "the training clip's length"
        )
    if edges not in ("start", "both", "none"):
        raise OptionError(
            f"cannot convert: got edges={edges!r}, expected 'start', 'both' or 'none'"
        )
    channels, frames, height, width = clip_shape
    return channels, frames, height, width


def _scale_windows(window: int, analysis: Analysis) -> dict[str, int]:
    """The window of every global pool: `window` for the slowest pathway, more for faster ones."""
    if not analysis.windows:
        raise ConversionError(
            f"cannot convert with window={window}: the network has no mean over time for it to "
            "slide; leave window out"
        )
    strides = {n.name: t.stride for n, t in analysis.types.items() if n.name in analysis.windows}
    slowest = max(strides.values())
    return {name: window * slowest // stride for name, stride in strides.items()}


def _count_masked_steps(analysis: Analysis, states: dict[StateKey, StateSpec]) -> int:
    """Until when some reading may lie before the first frame, or a window is not yet full."""
    masked = {node for node, _ in states}
    masked |= {
        u.node for low in analysis.lowerings.values() for u in low.uses if u.fill is not None
    }
    steps = max((analysis.types[node].delay for node in masked), default=0)
    for node, lowering in analysis.lowerings.items():
        if node.name in analysis.windows:
            steps = max(steps, lowering.type.delay + max(use.back for use in lowering.uses))
    return steps


def _clip_elements(node: fx.Node, analysis: Analysis) -> int:
    """How often the clip network does what one step does for this value."""
    axis = analysis.types[node].axis
    return 1 if axis is None else node.meta["val"].shape[axis]


def _tabulate(
    analysis: Analysis, states: dict[StateKey, StateSpec], dtype: torch.dtype
) -> tuple[ValueTiming, ...]:
    kept: dict[fx.Node, int] = {}
    for (node, _), spec in states.items():
        kept[node] = kept.get(node, 0) + spec.elements * dtype.itemsize
    rows = []
    for node, timing in analysis.types.items():
        lowering = analysis.lowerings.get(node)
        rows.append(
            ValueTiming(
                name=node.name,
                module_path=node.meta["origin"].module_path,
                operator="input" if lowering is None else str(node.target).removeprefix("aten."),
                stride=timing.stride,
                delay=timing.delay,
                receptive_field=timing.receptive_field,
                state_bytes=kept.get(node, 0),
                macs=0 if lowering is None else lowering.macs,
            )
        )
    return tuple(rows)
