"""The schedule of a step graph: groups in an order, and what is free after each place of it."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.fusion.groups import Group, SumDepthwise, View, find_read
from co3d.backends.fusion.patterns import PatternMatcher
from co3d.backends.fusion.reader import find_values


@dataclass(frozen=True, eq=False)
class FusedPlan:
    """A step graph as groups of operators that run one after the other; backends lower it.

    Attributes:
        graph: the step graph in the precision in which it runs.
        values: what each node makes, as tensors without data.
        inputs: the graph's placeholders.
        results: the nodes of the graph's results; None for results that this phase lacks.
        newest: the nodes of the newest elements of state.
        groups: by the node at which a group ends; PyTorch runs the nodes that have none.
        hidden: nodes without a value of their own, because they are parts of groups.
        order: the nodes that make a value, in the order in which they run. Nodes that depend on
            clocks alone come first, so that they do not separate kernels from each other.
        done: for each place of `order` the values that nothing reads after it. A view is read
            where its origin is; origins of outputs are never done.
    """

    graph: fx.GraphModule
    values: Mapping[fx.Node, Any]
    inputs: tuple[fx.Node, ...]
    results: tuple[fx.Node | None, ...]
    newest: tuple[fx.Node | None, ...]
    groups: Mapping[fx.Node, Group]
    hidden: Set[fx.Node]
    order: tuple[fx.Node, ...]
    done: tuple[tuple[fx.Node, ...], ...]

    @property
    def outputs(self) -> tuple[fx.Node | None, ...]:
        """All outputs of the graph: the results, then the newest elements."""
        return (*self.results, *self.newest)

    @property
    def written(self) -> set[fx.Node]:
        """The nodes whose values groups compute: neither views nor what PyTorch makes."""
        made = {node for node, group in self.groups.items() if not isinstance(group, View)}
        for group in self.groups.values():
            made.update(group.beside if isinstance(group, SumDepthwise) else ())
        return made

    @property
    def shown(self) -> set[fx.Node]:
        """The origins of the values that PyTorch reads: its results may be views of them."""
        return {
            self.origin(value)
            for node in self.order
            if node not in self.groups
            for value in node.all_input_nodes
        }

    def reads(self, node: fx.Node) -> Sequence[fx.Node]:
        """The values that a node of the order reads, or the group that ends at it."""
        return _list_read(node, self.groups)

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
    pools: bool = False,
) -> FusedPlan:
    """Cut a step graph into groups and schedule them.

    Args:
        graph: the graph in the precision in which it runs.
        exact: the same graph with the weights as they were converted, from which weights of groups
            are packed.
        examples: one tensor per input; floating ones of any precision.
        dtype: of the numbers that groups compute with.
        results: how many of the outputs are results; the others are newest elements of state.
        pools: see `PatternMatcher`.
    """
    values = find_values(graph, [x.to(dtype) if x.is_floating_point() else x for x in examples])
    matcher = PatternMatcher(graph, exact, values, dtype, pools=pools)
    groups = matcher.match()
    hidden = matcher.inner(groups)
    output = next(n for n in graph.graph.nodes if n.op == "output")
    outputs: tuple[fx.Node | None, ...] = tuple(output.args[0])
    order = _schedule(graph, values, hidden)
    return FusedPlan(
        graph,
        values,
        tuple(n for n in graph.graph.nodes if n.op == "placeholder"),
        outputs[:results],
        outputs[results:],
        groups,
        hidden,
        order,
        _find_done(order, groups, outputs),
    )


def _schedule(
    graph: fx.GraphModule, values: Mapping[fx.Node, Any], hidden: Set[fx.Node]
) -> tuple[fx.Node, ...]:
    """The nodes that make a value, those that know only of clocks first."""
    late: set[fx.Node] = set()
    for node in graph.graph.nodes:
        value, read = values.get(node), node.all_input_nodes
        is_map = isinstance(value, Tensor) and value.is_floating_point()
        # The size of a frame is known before any kernel has run.
        is_size = isinstance(value, int) and all(n.op == "placeholder" for n in read)
        if (node.op == "placeholder" and is_map) or (not is_size and not late.isdisjoint(read)):
            late.add(node)
    nodes = [n for n in graph.graph.nodes if n.op == "call_function" and n not in hidden]
    return tuple(sorted(nodes, key=lambda n: n in late))


def _find_done(
    order: Sequence[fx.Node],
    groups: Mapping[fx.Node, Group],
    outputs: Sequence[fx.Node | None],
) -> tuple[tuple[fx.Node, ...], ...]:
    last = {
        _find_origin(value, groups): place
        for place, node in enumerate(order)
        for value in _list_read(node, groups)
    }
    kept = {_find_origin(node, groups) for node in outputs if node is not None}
    done: list[list[fx.Node]] = [[] for _ in order]
    for node, place in last.items():
        if node not in kept:
            done[place].append(node)
    return tuple(map(tuple, done))


def _list_read(node: fx.Node, groups: Mapping[fx.Node, Group]) -> Sequence[fx.Node]:
    group = groups.get(node)
    return node.all_input_nodes if group is None else find_read(group)


def _find_origin(node: fx.Node, groups: Mapping[fx.Node, Group]) -> fx.Node:
    while isinstance(group := groups.get(node), View):
        node = group.source
    return node
