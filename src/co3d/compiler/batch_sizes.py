"""Finds numbers in a graph that scale with the batch, by comparing graphs of two batch sizes."""

import operator
from typing import Any

import torch
from torch import fx

from co3d.compiler.insertion import insert

# The operators that export may write for a view of a value.
VIEWS = {
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.reshape.default,
}


class GraphMismatchError(Exception):
    """The graphs for two batch sizes differ in more than numbers that scale with the batch."""


def compute_batch_sizes(graph: fx.Graph, other: fx.Graph, batches: tuple[int, int]) -> None:
    """Compute the numbers of a graph that scale with the batch from its input's size.

    Args:
        graph: changed in place; unchanged if this fails.
        other: the graph of the same network for another batch size.
        batches: the batch sizes of both exports, without a common divisor.

    Raises:
        GraphMismatchError: a loop over the batch, for one, has as many operators as clips.
    """
    nodes, others = list(graph.nodes), list(other.nodes)
    if [n.target for n in nodes] != [n.target for n in others]:
        raise GraphMismatchError("the network runs other operators on other batches")
    merged = []
    for node, twin in zip(nodes, others, strict=True):
        if node.op == "call_function":
            merged.append((node, _merge(node, twin, batches)))
    sizes = _Sizes(graph)
    for node, (args, kwargs) in merged:
        node.args = tuple(sizes.fill_in(node, args))
        node.kwargs = sizes.fill_in(node, kwargs)


class _Multiple(int):
    """An int n that stands for n times the batch size."""


def _merge(node: fx.Node, twin: fx.Node, batches: tuple[int, int]) -> tuple[list[Any], Any]:
    """Arguments of a node, with a `_Multiple` for each number that scales with the batch."""

    def merge(here: Any, there: Any) -> Any:
        if isinstance(here, (list, tuple)):
            if not isinstance(there, (list, tuple)) or len(here) != len(there):
                raise GraphMismatchError(f"{node.target} takes other arguments on other batches")
            return type(here)(merge(a, b) for a, b in zip(here, there, strict=True))
        if isinstance(here, fx.Node) or (type(here) is type(there) and repr(here) == repr(there)):
            return here
        multiple, rest = divmod(here, batches[0]) if type(here) is int else (0, 1)
        if rest or there != multiple * batches[1]:
            raise GraphMismatchError(
                f"{node.target} takes {here} for a batch of {batches[0]}, and {there} for one of "
                f"{batches[1]}"
            )
        return _Multiple(multiple)

    kwargs = {name: merge(value, twin.kwargs.get(name)) for name, value in node.kwargs.items()}
    return merge(list(node.args), list(twin.args)), kwargs


class _Sizes:
    """Inserts nodes that compute multiples of the batch size, each once, after the inputs."""

    def __init__(self, graph: fx.Graph) -> None:
        self._graph = graph
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        self._source, self._last = inputs[0], inputs[-1]
        self._made: dict[int, fx.Node] = {}

    def fill_in(self, node: fx.Node, value: Any) -> Any:
        """Replace the multiples in a value by nodes; a view gets -1, which PyTorch infers."""
        if isinstance(value, dict):
            return {name: self.fill_in(node, one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            count = sum(isinstance(one, _Multiple) for one in value)
            if node.target in VIEWS and count == 1 and -1 not in value:
                return type(value)(-1 if isinstance(one, _Multiple) else one for one in value)
            return type(value)(self.fill_in(node, one) for one in value)
        return self._size(int(value)) if isinstance(value, _Multiple) else value

    def _size(self, multiple: int) -> fx.Node:
        if multiple not in self._made:
            if multiple != 1:
                self._size(1)
            with self._graph.inserting_after(self._last):
                if multiple == 1:
                    made = insert(self._source, torch.ops.aten.sym_size.int, (self._source, 0))
                else:
                    made = insert(self._source, operator.mul, (self._size(1), multiple))
            self._made[multiple] = self._last = made
        return self._made[multiple]
