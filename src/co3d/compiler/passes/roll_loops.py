"""Roll unrolled loops over frames: they become one scan.

Export unrolls `for t in range(T)`. Each operator then depends on frames up to some t, its level:

    level 0            level 1              level 2              level 3
    x0 ─ f ─ h0 ──── x1 ─ f ─ h1 ──────── x2 ─ f ─ h2 ──────── x3 ─ f ─ h3
    zeros ┘        └──────────┘         └──────────┘         └──────────┘

If all levels compute the same function of their frame and of the previous level, and the first one
that function of its frame and constants, the loop is a recurrence. Other loops are not changed.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.passes.equivalence import Pick
from co3d.compiler.passes.loop_body import find_body
from co3d.compiler.passes.replace_loop import replace_loop
from co3d.compiler.passes.result import PassResult
from co3d.compiler.passes.uniform import uniform_value
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
# Two inner levels are compared with each other, between the first and the last.
LEAST_FRAMES = 4


@dataclass
class _Levels:
    """The nodes that depend on selected frames of values with one number of elements and stride.

    Attributes:
        frames: number of levels.
        picks: nodes that select one element along time.
        level: levels of picks and of nodes that depend on nothing but picks and constants.
        collectors: concatenation of one value per level, in order -> those values.
    """

    frames: int
    picks: dict[fx.Node, Pick]
    level: dict[fx.Node, int] = field(default_factory=dict)
    collectors: dict[fx.Node, list[fx.Node]] = field(default_factory=dict)


def roll_loops(clip_graph: fx.GraphModule, analysis: Analysis) -> PassResult:
    """Replace one loop over all elements of a value by a scan; equal up to rounding.

    Changes one loop at a time, since another may loop over its results: run it until nothing
    changes.
    """
    for levels in _find_levels(clip_graph, analysis):
        for targets in _group_targets(levels):
            if _roll(clip_graph, levels, targets):
                _renumber(clip_graph)
                return PassResult(True)
    return PassResult(False)


def _find_levels(clip_graph: fx.GraphModule, analysis: Analysis) -> list[_Levels]:
    """The selections of every element of a value, by number of elements and stride."""
    found: dict[tuple[fx.Node, int], dict[int, list[fx.Node]]] = {}
    for node in clip_graph.graph.nodes:
        pick = _read_pick(node)
        if pick is not None:
            x, dim, index = pick
            found.setdefault((x, dim), {}).setdefault(index, []).append(node)
    groups: dict[tuple[int, int], _Levels] = {}
    for (x, dim), nodes in found.items():
        frames, type_ = x.meta["val"].shape[dim], analysis.types.get(x)
        if type_ is None or type_.axis != dim or type_.is_pooled or dim == 0:
            continue
        if frames < LEAST_FRAMES or len(nodes) < frames:
            continue
        levels = groups.setdefault((frames, type_.stride), _Levels(frames, {}))
        for index, picks in nodes.items():
            for node in picks:
                levels.picks[node] = Pick(x, dim, index, node.target is _ATEN.slice.Tensor)
    for levels in groups.values():
        _assign_levels(clip_graph, levels)
    return list(groups.values())


def _read_pick(node: fx.Node) -> tuple[fx.Node, int, int] | None:
    """The selection that a node makes; None where it makes none."""
    if node.target is _ATEN.select.int:
        args = arguments(node)
        shape = args["self"].meta["val"].shape
        dim = args["dim"] % len(shape)
        return args["self"], dim, args["index"] % shape[dim]
    if node.target is _ATEN.slice.Tensor:
        args = arguments(node)
        shape = args["self"].meta["val"].shape
        dim = args["dim"] % len(shape)
        start, end, _ = slice(args["start"], args["end"]).indices(shape[dim])
        if end - start == 1 < shape[dim]:
            return args["self"], dim, start
    return None


def _assign_levels(clip_graph: fx.GraphModule, levels: _Levels) -> None:
    constant: set[fx.Node] = set()
    for node in clip_graph.graph.nodes:
        inputs = node.all_input_nodes
        if node in levels.picks:
            levels.level[node] = levels.picks[node].index
        elif node.op == "get_attr":
            constant.add(node)
        elif node.op != "call_function":
            continue
        elif any(n in levels.level for n in inputs):
            parts = _read_collector(node, levels)
            if parts is not None:
                levels.collectors[node] = parts
            elif all(n in levels.level or n in constant for n in inputs):
                levels.level[node] = max(levels.level.get(n, 0) for n in inputs)
        elif uniform_value(clip_graph, node) is not None or (
            inputs and constant.issuperset(inputs)
        ):
            constant.add(node)


def _read_collector(node: fx.Node, levels: _Levels) -> list[fx.Node] | None:
    if node.target is not _ATEN.cat.default:
        return None
    parts: Any = arguments(node)["tensors"]
    if [levels.level.get(part) for part in parts] != list(range(levels.frames)):
        return None
    return list(parts)


def _group_targets(levels: _Levels) -> list[tuple[list[fx.Node], set[fx.Node]]]:
    """Groups of nodes that read loops, with their dependencies, which no two groups share.

    The readers are collectors, and nodes that depend on the last frame and are read elsewhere.
    """
    last = levels.frames - 1
    targets = list(levels.collectors)
    for node, level in levels.level.items():
        outside = [u for u in node.users if u not in levels.level]
        if level == last and not set(outside) <= levels.collectors.keys():
            targets.append(node)
    groups: list[tuple[list[fx.Node], set[fx.Node]]] = []
    for target in sorted(targets):
        own = _gather(target, levels)
        shared = [group for group in groups if not own.isdisjoint(group[1])]
        groups = [group for group in groups if group not in shared]
        merged = [t for group in shared for t in group[0]] + [target]
        groups.append((merged, own.union(*(group[1] for group in shared))))
    alone = [([t], _gather(t, levels)) for group, _ in groups if len(group) > 1 for t in group]
    return groups + alone


def _gather(target: fx.Node, levels: _Levels) -> set[fx.Node]:
    """A target and its dependencies, as far as they have a level and are no picks."""
    waiting = list(levels.collectors.get(target, [target]))
    found: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node in levels.level and node not in levels.picks and node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _roll(
    clip_graph: fx.GraphModule, levels: _Levels, group: tuple[list[fx.Node], set[fx.Node]]
) -> bool:
    targets, nodes = group
    by_level: list[list[fx.Node]] = [[] for _ in range(levels.frames)]
    for node in sorted(nodes):
        by_level[levels.level[node]].append(node)
    collectors = {t: levels.collectors[t] for t in targets if t in levels.collectors}
    body = find_body(clip_graph, by_level, levels.picks, collectors, levels.level)
    return body is not None and replace_loop(clip_graph, body, levels.picks, levels.frames)


def _renumber(clip_graph: fx.GraphModule) -> None:
    """Renumber operators, so that no name depends on how often a loop was unrolled."""
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in clip_graph.graph.nodes:
        if node.op == "call_function":
            args, kwargs = fx.map_arg((node.args, node.kwargs), copied.__getitem__)
            target: Any = node.target
            name = getattr(target, "overloadpacket", target).__name__
            copied[node] = graph.create_node(node.op, target, args, kwargs, name=name)
            copied[node].meta = node.meta
        else:
            copied[node] = graph.node_copy(node, copied.__getitem__)
    clip_graph.graph = graph
