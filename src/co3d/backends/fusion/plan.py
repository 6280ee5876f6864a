"""The schedule of a step graph: the order of its groups, and the lifetimes of values."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Group, SumDepthwise, View, list_read
from co3d.backends.fusion.patterns import PatternMatcher
from co3d.backends.fusion.reader import find_values


@dataclass(frozen=True, eq=False)
class FusedPlan:
    """A step graph as an ordered list of fused groups and single operators; backends lower it.

    Attributes:
        graph: the step graph in the precision in which it runs.
        values: each node's value as a meta tensor.
        inputs: the graph's placeholders.
        clocks: those of them that are clocks.
        clock_nodes: the nodes that depend on clocks alone, in order.
        results: the nodes of the graph's results; None for results that this phase lacks.
        newest: the nodes of the newest elements of state.
        groups: the fused groups, by their last node; PyTorch runs nodes that are in no group.
        fused_away: the other nodes of groups, whose own values are not computed.
        order: the nodes to compute, in order. Nodes that depend on clocks alone come first, so that
            they do not interrupt a list of kernels.
        dead_after: for each index of `order`, the values that nothing reads afterwards. Reading a
            view counts as reading its origin; the origins of outputs are in no list.
    """

    graph: fx.GraphModule
    values: Mapping[fx.Node, Any]
    inputs: tuple[fx.Node, ...]
    clocks: tuple[fx.Node, ...]
    clock_nodes: tuple[fx.Node, ...]
    results: tuple[fx.Node | None, ...]
    newest: tuple[fx.Node | None, ...]
    groups: Mapping[fx.Node, Group]
    fused_away: Set[fx.Node]
    order: tuple[fx.Node, ...]
    dead_after: tuple[tuple[fx.Node, ...], ...]

    @property
    def outputs(self) -> tuple[fx.Node | None, ...]:
        """All outputs of the graph: the results, then the newest elements."""
        return (*self.results, *self.newest)

    @property
    def written(self) -> set[fx.Node]:
        """The nodes whose values kernels compute: all outputs of groups, except views."""
        made = {node for node, group in self.groups.items() if not isinstance(group, View)}
        for group in self.groups.values():
            made.update(group.additional if isinstance(group, SumDepthwise) else ())
        return made

    @property
    def read_by_torch(self) -> set[fx.Node]:
        """The origins of values that PyTorch reads; its results may be views of them."""
        return {
            self.origin(value)
            for node in self.order
            if node not in self.groups
            for value in node.all_input_nodes
        }

    def reads(self, node: fx.Node) -> Sequence[fx.Node]:
        """The values that a node of `order`, or its group, reads."""
        return _list_inputs(node, self.groups)

    def origin(self, node: fx.Node) -> fx.Node:
        """The node whose value a node is a view of; the node itself where it is no view."""
        return _find_origin(node, self.groups)


def plan_graph(
    graph: fx.GraphModule,
    exact: fx.GraphModule,
    examples: Sequence[Tensor],
    dtype: torch.dtype,
    results: int,
    *,
    given: int | None = None,
    pools: bool = False,
) -> FusedPlan:
    """Match the fused groups of a step graph and schedule them.

    Args:
        graph: the graph in the precision in which it runs.
        exact: the same graph with its original weights, from which packed weights are made.
        examples: one tensor per input; floating ones of any precision.
        dtype: of the values that kernels read and write.
        results: how many of the outputs are results; the others are newest elements of state.
        given: how many of the inputs are frames and clocks; the others are elements of state. None
            if there are no elements of state.
        pools: see `PatternMatcher`.
    """
    values = find_values(graph, [x.to(dtype) if x.is_floating_point() else x for x in examples])
    inputs = tuple(n for n in graph.graph.nodes if n.op == "placeholder")
    # Only the first `given` inputs, because elements of state may be int64 too.
    clocks = tuple(
        n for n in inputs[:given] if values[n].dtype == torch.int64 and values[n].ndim == 1
    )
    clock_nodes = _find_clock_nodes(graph, clocks)
    matcher = PatternMatcher(graph, exact, values, clock_nodes, dtype, pools=pools)
    groups = matcher.match()
    fused_away = matcher.inner(groups)
    output = next(n for n in graph.graph.nodes if n.op == "output")
    outputs: tuple[fx.Node | None, ...] = tuple(output.args[0])
    order = _schedule(graph, values, fused_away)
    return FusedPlan(
        graph,
        values,
        inputs,
        clocks,
        clock_nodes,
        outputs[:results],
        outputs[results:],
        groups,
        fused_away,
        order,
        _find_dead(order, groups, outputs),
    )


def _find_clock_nodes(graph: fx.GraphModule, clocks: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
    """The nodes that depend on clocks alone, in order."""
    known = dict.fromkeys(clocks)  # in order, unlike a set
    for node in graph.graph.nodes:
        read = [n for n in node.all_input_nodes if n.op != "get_attr"]
        if node.op == "call_function" and read and all(n in known for n in read):
            known[node] = None
    return tuple(node for node in known if node not in clocks)


def _schedule(
    graph: fx.GraphModule, values: Mapping[fx.Node, Any], fused_away: Set[fx.Node]
) -> tuple[fx.Node, ...]:
    """The nodes to compute, those that depend on clocks or sizes alone first."""
    late: set[fx.Node] = set()
    for node in graph.graph.nodes:
        value, read = values.get(node), node.all_input_nodes
        is_map = isinstance(value, Tensor) and value.is_floating_point()
        # The size of a frame can be read before any kernel has run.
        is_size = isinstance(value, int) and all(n.op == "placeholder" for n in read)
        if (node.op == "placeholder" and is_map) or (not is_size and not late.isdisjoint(read)):
            late.add(node)
    nodes = [n for n in graph.graph.nodes if n.op == "call_function" and n not in fused_away]
    return tuple(sorted(nodes, key=lambda n: n in late))


def _find_dead(
    order: Sequence[fx.Node],
    groups: Mapping[fx.Node, Group],
    outputs: Sequence[fx.Node | None],
) -> tuple[tuple[fx.Node, ...], ...]:
    last = {
        _find_origin(value, groups): place
        for place, node in enumerate(order)
        for value in _list_inputs(node, groups)
    }
    kept = {_find_origin(node, groups) for node in outputs if node is not None}
    dead_after: list[list[fx.Node]] = [[] for _ in order]
    for node, place in last.items():
        if node not in kept:
            dead_after[place].append(node)
    return tuple(map(tuple, dead_after))


def _list_inputs(node: fx.Node, groups: Mapping[fx.Node, Group]) -> Sequence[fx.Node]:
    group = groups.get(node)
    return node.all_input_nodes if group is None else list_read(group)


def _find_origin(node: fx.Node, groups: Mapping[fx.Node, Group]) -> fx.Node:
    while isinstance(group := groups.get(node), View):
        node = group.source
    return node
