"""Edits a clip graph and maintains the shape and the origin of every node."""

import heapq
from collections.abc import Callable, Container, Iterable
from typing import Any

from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves


def insert(
    near: fx.Node,
    target: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    name: str | None = None,
) -> fx.Node:
    """Add a call to a clip graph, at the graph's insertion point, with another node's origin.

    The call runs on the fake tensors of its operands, so that `meta["val"]` of the new node has
    the shape of its value, like that of captured nodes.

    Args:
        near: the node whose `meta["origin"]` the new one takes.
        target: an ATen operator, or another function of tensors.
        args, kwargs: of the call: nodes, plain values, and lists of these.
        name: of the node; by default from the target.
    """
    made = near.graph.create_node("call_function", target, args, kwargs or {}, name=name)
    made.meta = {"origin": near.meta["origin"], "val": _run_on_fakes(made)}
    return made


def insert_constant(
    clip_graph: fx.GraphModule, near: fx.Node, name: str, tensor: Tensor
) -> fx.Node:
    """Register a tensor as a buffer of a clip graph, and add a node that reads it.

    Args:
        clip_graph: the graph, at its insertion point.
        near: the node whose `meta["origin"]` the new one takes.
        name: of the buffer and of the node.
        tensor: the constant.
    """
    clip_graph.register_buffer(name, tensor)
    made = clip_graph.graph.get_attr(name)
    fake = _fake_mode(near).from_tensor(tensor, static_shapes=True)
    made.meta = {"origin": near.meta["origin"], "val": fake}
    return made


def replace(node: fx.Node, made: fx.Node) -> None:
    """Let all readers of a node read another one instead, and erase the node."""
    node.replace_all_uses_with(made)
    node.graph.erase_node(node)


def visit_readers(values: Iterable[fx.Node], visit: Callable[[fx.Node], bool]) -> None:
    """Visit the readers of some values, each once and in graph order.

    Args:
        values: the values whose readers to visit.
        visit: called with a reader; returns whether to visit the readers of that one as well.
    """
    seen = {reader for value in values for reader in value.users}
    waiting = list(seen)
    heapq.heapify(waiting)  # nodes compare by their position in the graph
    while waiting:
        node = heapq.heappop(waiting)
        if visit(node):
            for reader in node.users:
                if reader not in seen:
                    seen.add(reader)
                    heapq.heappush(waiting, reader)


def propagate_shapes(values: Iterable[fx.Node], within: Container[fx.Node] | None = None) -> None:
    """Update `meta["val"]` of the nodes that follow values whose shape has changed.

    Runs these nodes on fake tensors, and stops where a shape does not change.

    Args:
        values: the values whose shape has changed.
        within: the only nodes to run; None for all.
    """

    def update(node: fx.Node) -> bool:
        if node.op != "call_function" or (within is not None and node not in within):
            return False
        before = _list_shapes(node.meta["val"])
        node.meta["val"] = _run_on_fakes(node)
        return _list_shapes(node.meta["val"]) != before

    visit_readers(values, update)


def _run_on_fakes(node: fx.Node) -> Any:
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
    target: Any = node.target
    return target(*args, **kwargs)


def _list_shapes(value: Any) -> list[Any]:
    return [getattr(leaf, "shape", leaf) for leaf in tree_leaves(value)]


def _fake_mode(node: fx.Node) -> FakeTensorMode:
    """The mode in which the shapes of a captured graph were traced."""
    fakes = [leaf for leaf in tree_leaves(node.meta["val"]) if isinstance(leaf, FakeTensor)]
    return fakes[0].fake_mode
