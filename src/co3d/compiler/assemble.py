"""The last stage: an analysed network becomes a step program."""

from co3d.compiler.analyse import Analysis, output_nodes
from co3d.compiler.emit import StepBuilder
from co3d.compiler.explain import tabulate
from co3d.compiler.prepared import Prepared
from co3d.compiler.program import Phase, StepProgram
from co3d.compiler.schedule import count_clip_macs, count_recomputed_macs
from co3d.compiler.states import StateKey, plan_states
from co3d.compiler.temporal import StateSpec


def assemble(prepared: Prepared) -> StepProgram:
    """Emit the step graphs of an analysed network, and build its `StepProgram`."""
    options, analysis = prepared.options, prepared.analysis
    clip_graph, dense = prepared.clip_graph, options.is_dense
    states = plan_states(analysis, dense=dense)
    outputs = output_nodes(clip_graph)
    phases = _build_phases(prepared, states)
    return StepProgram(
        name=prepared.name,
        frame_shapes=tuple((shape[0], *shape[2:]) for shape in prepared.clip_shapes),
        output_shapes=tuple(
            analysis.types[n].frame_shape(tuple(n.meta["val"].shape)) for n in outputs
        ),
        output_spec=prepared.output_spec,
        dtype=next(n for n in clip_graph.graph.nodes if n.op == "placeholder").meta["val"].dtype,
        timing=analysis.timing,
        window=_find_window(analysis),
        rate=options.rate,
        edges=options.edges,
        states=tuple(states.values()),
        phases=phases,
        masked_steps=0 if options.edges == "none" else _count_masked_steps(analysis, states),
        macs_per_frame=round(sum(phase.macs for phase in phases) / len(phases)),
        clip_macs=count_clip_macs(analysis, prepared.batch),
        graph_slots=prepared.graph_slots,
        recomputed_macs=count_recomputed_macs(analysis) // (1 if dense else analysis.timing.stride),
        clip_frames=prepared.clip_frames,
        approximations=prepared.approximations,
        fallbacks=prepared.fallbacks,
        clip_graph=prepared.whole_graph,
        rows=tabulate(analysis, states),
    )


def _find_window(analysis: Analysis) -> int | None:
    """The longest window of a global pool, in results; None without one."""
    reaches = [
        (window - 1) * analysis.types[node].stride
        for node in analysis.types
        if (window := analysis.windows.get(node.name)) is not None
    ]
    return max(reaches) // analysis.timing.stride + 1 if reaches else None


def _build_phases(prepared: Prepared, states: dict[StateKey, StateSpec]) -> tuple[Phase, ...]:
    phases = []
    analysis, edges = prepared.analysis, prepared.options.edges
    dense = prepared.options.is_dense
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
                macs=sum(low.at(phase).macs for low in due),
            )
        )
    return tuple(phases)


def _count_masked_steps(analysis: Analysis, states: dict[StateKey, StateSpec]) -> int:
    """Steps during which a read may lie before the first frame, or a window is not yet full."""
    types = analysis.types
    masked = {node for node, _ in states}
    masked |= {
        u.node for low in analysis.lowerings.values() for u in low.uses if u.fill is not None
    }
    steps = max((types[node].delay for node in masked), default=0)
    for low in analysis.lowerings.values():
        for variant in low.variants:
            if variant.counts:
                steps = max(steps, *(types[use.node].delay + use.back for use in variant.uses))
    return steps
