"""Matches groups of operators in a step graph that one kernel runs together."""

from collections.abc import Container, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from co3d.backends.fusion.groups import (
    MOST_ADDITIONAL,
    MOST_SOURCES,
    POINT,
    Activation,
    Convolve,
    Group,
    Mean,
    Select,
    SumDepthwise,
    View,
)
from co3d.backends.fusion.pools import (
    average_pixels,
    match_max_pool,
    match_pool,
    match_window,
)
from co3d.backends.fusion.reader import ADD, CAT, MUL, GraphReader, read_arguments

_aten = torch.ops.aten
ACTIVATIONS = {
    _aten.relu.default: Activation.RELU,
    torch.relu: Activation.RELU,
    F.relu: Activation.RELU,
    _aten.silu.default: Activation.SILU,
    F.silu: Activation.SILU,
    _aten.sigmoid.default: Activation.SIGMOID,
    torch.sigmoid: Activation.SIGMOID,
}
VIEWS = (
    torch.flatten,
    torch.reshape,
    torch.squeeze,
    _aten.flatten.using_ints,
    _aten.reshape.default,
    _aten.squeeze.dims,
    _aten.view.default,
)
LINEAR = (F.linear, _aten.linear.default)
MEAN = (torch.mean, _aten.mean.dim)


class PatternMatcher:
    """Matches the nodes of one graph, from the last to the first.

    Args:
        graph: a step graph in one floating precision.
        exact: the same graph with its original weights, from which packed weights are made.
        values: each node's value; meta tensors suffice.
        clock_nodes: the nodes that depend on clocks alone.
        dtype: of the values that kernels read and write; PyTorch computes values of other dtypes.
        pools: whether the backend has kernels for max pools, for means over the pixels of any map,
            and for averages over time of vectors.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        exact: fx.GraphModule,
        values: Mapping[fx.Node, Any],
        clock_nodes: Container[fx.Node],
        dtype: torch.dtype,
        *,
        pools: bool = False,
    ) -> None:
        self._graph, self._pools = graph, pools
        self._reader = GraphReader(exact, values, clock_nodes, dtype)
        # Nodes inside a group, except its last node.
        self._inner: set[fx.Node] = set()

    def match(self) -> dict[fx.Node, Group]:
        """Match groups, by their last node; PyTorch runs the nodes that are in no group."""
        groups: dict[fx.Node, Group] = {}
        for node in reversed(self._graph.graph.nodes):
            if (
                node.op == "call_function"
                and node not in self._inner
                and self._reader.is_float(node)
            ):
                found = self._match_node(node)
                if found is not None:
                    groups[node] = found
        for node, group in list(groups.items()):
            if isinstance(group, Mean):
                maker = groups.get(group.source)
                if isinstance(maker, SumDepthwise) and maker.mean is None:
                    groups[group.source] = replace(maker, mean=node)
                elif self._pools:
                    groups[node] = average_pixels(self._reader, group.source)
                else:
                    del groups[node]
        self._merge_sums(groups)
        return groups

    def _merge_sums(self, groups: dict[fx.Node, Group]) -> None:
        """Merge sums of the same sources into one group with additional outputs.

        The taps of a temporal kernel are such sums. The merged group must run before all of their
        readers.
        """
        order = {node: i for i, node in enumerate(self._graph.graph.nodes)}
        for node, group in list(groups.items()):
            if not isinstance(group, SumDepthwise) or not group.added:
                continue
            additional = {
                other: sum_
                for other, sum_ in groups.items()
                if isinstance(sum_, SumDepthwise)
                and _differs_in_weights_only(sum_, group)
                and all(order[user] > order[node] for user in other.users)
            }
            if 0 < len(additional) <= MOST_ADDITIONAL:
                groups[node] = replace(group, additional=additional)
                for other in additional:
                    del groups[other]
                    self._inner.add(other)

    def inner(self, groups: Mapping[fx.Node, Group]) -> set[fx.Node]:
        """Nodes that are fused into groups, so that nothing computes their own value."""
        return self._inner - set(groups)

    def _match_node(self, node: fx.Node) -> Group | None:
        for match in (self._match_view, self._match_mean, self._match_select):
            if (found := match(node)) is not None:
                return found
        if self._pools and (pool := match_max_pool(self._reader, node)) is not None:
            return pool
        chain, activation, root = self._split_activation(node)
        for match in (self._match_linear, self._match_residual, self._match_depthwise):
            if (found := match(root)) is not None:
                group, inner = found
                self._inner.update({*chain, *inner} - {node})
                return replace(group, activation=activation)
        if activation is not Activation.IDENTITY and self._reader.is_map(source := node.args[0]):
            return SumDepthwise((source,), None, None, POINT, activation)
        return None

    def _split_activation(self, node: fx.Node) -> tuple[list[fx.Node], Activation, fx.Node]:
        """Split a node into its activation and the node that it is applied to.

        Without an activation, or where another node reads the input too, it is the node itself.

        Returns:
            The nodes that are fused, the activation, and the node to match.
        """
        activation = ACTIVATIONS.get(node.target, Activation.IDENTITY)
        if activation is Activation.IDENTITY:
            return [], activation, node
        chain, root = [node], node.args[0]
        while isinstance(root, fx.Node) and len(root.users) == 1 and self._match_view(root):
            chain.append(root)
            root = root.args[0]
        if not isinstance(root, fx.Node) or len(root.users) > 1:
            return [], activation, node
        return [*chain, root], activation, root

    def _match_view(self, node: fx.Node) -> View | None:
        source = node.args[0] if node.args else None
        if node.target not in VIEWS or not isinstance(source, fx.Node):
            return None
        shapes = self._reader.shape(node), self._reader.shape(source)
        if not all(len(s) in (2, 4) and s[:2] == shapes[0][:2] for s in shapes):
            return None
        if any(size != 1 for shape in shapes for size in shape[2:]):
            return None
        return View(source)

    def _match_mean(self, node: fx.Node) -> Mean | None:
        if node.target not in MEAN or "dtype" in node.kwargs:
            return None
        source, dims = read_arguments(node, "input", "dim")
        if not self._reader.is_map(source):
            return None
        if dims not in ([2, 3], (2, 3), [-2, -1], (-2, -1)):
            return None
        return Mean(source)

    def _match_select(self, node: fx.Node) -> Select | None:
        if node.target is not torch.where or len(node.args) != 3:
            return None
        mask, source, fill = node.args
        if not isinstance(mask, fx.Node) or not self._reader.is_float(source):
            return None
        if not isinstance(fill, float | int) or self._reader.shape(source) != self._reader.shape(
            node
        ):
            return None
        if self._reader.shape(mask) != (self._reader.shape(node)[0],) + (1,) * (
            len(self._reader.shape(node)) - 1
        ):
            return None
        return Select(source, mask, float(fill))

    def _match_linear(self, node: fx.Node) -> tuple[Convolve, set[fx.Node]] | None:
        if node.target not in LINEAR:
            return None
        source, weight, bias = read_arguments(node, "input", "weight", "bias")
        constant = self._reader.constant(weight)
        if (
            len(self._reader.shape(source)) != 2
            or constant is None
            or not self._reader.is_constant(bias)
        ):
            return None
        weight = constant[:, :, None, None]
        return Convolve((source,), weight, self._reader.constant(bias), POINT), set()

    def _match_residual(self, node: fx.Node) -> tuple[Convolve, set[fx.Node]] | None:
        """A dense convolution, with or without a map that is added to it."""
        if node.target not in ADD:
            return self._match_dense(node)
        if not self._reader.adds_same_shape(node):
            return None
        first, second = cast(tuple[fx.Node, fx.Node], node.args)
        for one, other in ((first, second), (second, first)):
            if len(one.users) == 1 and one is not other:
                found = self._match_dense(one)
                if found is not None:
                    return replace(found[0], residual=other), {one, *found[1]}
        return None

    def _match_dense(self, node: fx.Node) -> tuple[Convolve, set[fx.Node]] | None:
        parts = self._reader.read_convolution(node)
        if parts is None or parts[4] != 1:
            return None
        source, weight, bias, geometry, _ = parts
        inner: set[fx.Node] = set()
        convolution = Convolve((source,), weight, bias, geometry)
        if source.target in CAT and self._reader.is_channel_cat(source):
            if all(self._reader.is_dense(user) for user in source.users):
                inner.add(source)
            convolution = replace(convolution, sources=tuple(source.args[0]))  # type: ignore[arg-type]
        elif weight.shape[2:] == (1, 1) and geometry == POINT:
            gated = self._match_gate(source)
            if gated is not None:
                source, gate, activation, inner = gated
                convolution = replace(
                    convolution, sources=(source,), gate=gate, source_activation=activation
                )
        return convolution, inner

    def _match_gate(
        self, node: fx.Node
    ) -> tuple[fx.Node, fx.Node, Activation, set[fx.Node]] | None:
        """activation(map * gate) with one gate value per channel, read by a single node."""
        chain, activation, root = self._split_activation(node)
        if len(node.users) != 1 or root.target not in MUL or len(root.args) != 2:
            return None
        first, second = root.args
        for source, gate in ((first, second), (second, first)):
            if not self._reader.is_map(source) or not self._reader.is_float(gate):
                continue
            shape = self._reader.shape(root)
            if self._reader.shape(gate) == (*shape[:2], 1, 1) and shape == self._reader.shape(
                source
            ):
                return source, gate, activation, {node, root, *chain}
        return None

    def _match_depthwise(self, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
        if not self._reader.is_map(node):
            return match_window(self._reader, node, divides=True) if self._pools else None
        for match in (
            self._match_scaled_sum,
            self._match_depthwise_sum,
            self._match_plain_sum,
            partial(match_pool, self._reader),
            partial(match_window, self._reader, divides=self._pools),
        ):
            found = match(node)
            if found is not None and len(found[0].sources) <= MOST_SOURCES:
                return found
        return None

    def _match_depthwise_sum(self, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
        """The sum of depthwise convolutions of one geometry, and of other maps."""
        terms, inner = self._reader.find_terms(node)
        # A list of pairs, not a dict, because a term that is added to itself occurs twice.
        found = [
            (n, part)
            for n in terms
            if (n is node or len(n.users) == 1) and (part := self._reader.read_convolution(n))
        ]
        convolved, known = {n for n, _ in found}, [part for _, part in found]
        added = tuple(n for n in terms if n not in convolved)
        if not known or len(added) > MOST_ADDITIONAL:
            return None
        first = known[0]
        for source, weight, _, geometry, groups in known:
            channels = self._reader.shape(source)[1]
            if groups != channels or weight.shape[:2] != (channels, 1) or geometry != first[3]:
                return None
            if weight.shape != first[1].shape or self._reader.shape(source) != self._reader.shape(
                first[0]
            ):
                return None
        sources = tuple(part[0] for part in known)
        weights = tuple(part[1][:, 0] for part in known)
        biases = [part[2] for part in known if part[2] is not None]
        bias = sum(biases[1:], biases[0]) if biases else None
        group = SumDepthwise(sources, weights, bias, first[3], added=added)
        return group, {*inner, *convolved} - {node}

    def _match_scaled_sum(self, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
        """A chain of mul and addcmul with one factor per channel, and at most one added bias."""
        sources: list[fx.Node] = []
        weights: list[Tensor] = []
        bias: Tensor | None = None
        inner: set[fx.Node] = set()
        current: Any = node
        while True:
            if not isinstance(current, fx.Node) or (current is not node and len(current.users) > 1):
                return None
            if current.kwargs:
                return None
            inner.add(current)
            if current.target is torch.addcmul and len(current.args) == 3:
                current, source, factor = current.args
            elif current.target in MUL and len(current.args) == 2:
                (source, factor), current = current.args, None
            elif current.target in ADD and len(current.args) == 2 and bias is None:
                bias = self._reader.per_channel(current.args[1], node)
                if bias is None:
                    return None
                current = current.args[0]
                continue
            else:
                return None
            scale = self._reader.per_channel(factor, node)
            if scale is None or not self._reader.is_map(source):
                return None
            if self._reader.shape(source) != self._reader.shape(node):
                return None
            sources.append(source)
            weights.append(scale[:, None, None])
            if current is None:
                order = slice(None, None, -1)
                group = SumDepthwise(tuple(sources[order]), tuple(weights[order]), bias, POINT)
                return group, inner - {node}

    def _match_plain_sum(self, node: fx.Node) -> tuple[SumDepthwise, set[fx.Node]] | None:
        leaves, inner = self._reader.find_terms(node)
        if len(leaves) == 1:
            return None
        return SumDepthwise(tuple(leaves), None, None, POINT), inner - {node}


def _differs_in_weights_only(one: SumDepthwise, other: SumDepthwise) -> bool:
    """Whether two sums differ in their weights alone, and `one` has nothing else fused."""
    if one.weights is None or other.weights is None:
        return False
    shapes = [weight.shape for weight in one.weights]
    plain = SumDepthwise(other.sources, one.weights, one.bias, other.geometry)
    return one == plain and shapes == [weight.shape for weight in other.weights]
