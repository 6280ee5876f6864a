"""Analysis: every node of the clip graph gets its rule, its temporal type and its readings."""

from dataclasses import dataclass

from torch import fx

from co3d.errors import ConversionError
from co3d.stream.rules import Context, Lowering, UnsupportedError, find_rule
from co3d.stream.temporal import TemporalType


@dataclass(frozen=True)
class Analysis:
    """What the rules say of a clip graph.

    Attributes:
        lowerings: per node that depends on the input, in graph order (the input itself excepted).
        types: temporal type per such node, the input included.
        windows: global pool -> its window in elements.
        gates: global pools that meet frames again; lowering is only sound when there are none.
    """

    lowerings: dict[fx.Node, Lowering]
    types: dict[fx.Node, TemporalType]
    windows: dict[str, int]
    gates: set[str]


def analyse(
    clip_graph: fx.GraphModule, clip_frames: int, windows: dict[str, int] | None = None
) -> Analysis:
    """Apply the rules in graph order.

    Args:
        clip_graph: the clip network.
        clip_frames: length of the clip that it was exported for.
        windows: elements that global pools average, by name; by default as many as the clip has.

    Raises:
        ConversionError: some operators cannot stream; all of them are listed.
    """
    ctx = Context(clip_graph, clip_frames, dict(windows or {}))
    lowerings: dict[fx.Node, Lowering] = {}
    problems: list[str] = []
    poisoned: set[fx.Node] = set()
    for node in clip_graph.graph.nodes:
        if node.op == "placeholder":
            ctx.types[node] = TemporalType(axis=2)
        elif node.op == "call_function":
            if any(n in poisoned for n in node.all_input_nodes):
                poisoned.add(node)
                continue
            if not any(ctx.is_temporal(n) for n in node.all_input_nodes):
                problems.append(_describe(node, "it computes a constant", "make it a buffer"))
                poisoned.add(node)
                continue
            try:
                lowerings[node] = find_rule(node.target)(ctx, node)
            except UnsupportedError as error:
                problems.append(_describe(node, error.reason, error.hint))
                poisoned.add(node)
                continue
            ctx.types[node] = lowerings[node].type
    if problems:
        count = len(problems)
        raise ConversionError(
            f"cannot convert: {count} operator{'s' * (count > 1)} cannot run frame by frame:\n"
            + "\n".join(f"  {line}" for line in problems)
        )
    return Analysis(lowerings, ctx.types, ctx.windows, ctx.gates)


def _describe(node: fx.Node, reason: str, hint: str) -> str:
    origin = node.meta["origin"]
    where = f"{origin.module_path or 'the model'} ({origin.module_class})"
    return f"{node.target} in {where}, {origin.source_line}: {reason}; {hint}"
