"""The first level of an unrolled loop: what the body makes of constants in place of its past.

Other passes have simplified it by then: operators of constants are computed, a concatenation with
zeros is a pad, and Python began a sum with its first value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from co3d.compiler.passes.likeness import Pick, are_alike, are_equal_constants
from co3d.compiler.passes.uniform import uniform_value
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
# What leaves another operand as it is.
_NEUTRAL: dict[Any, float] = {
    _ATEN.add.Tensor: 0.0,
    _ATEN.maximum.default: float("-inf"),
    _ATEN.minimum.default: float("inf"),
}


@dataclass
class LoopStart:
    """Compares the nodes of the first level with a body.

    Attributes:
        clip_graph: the graph, and its constants.
        shown: the nodes of the level that shows the body.
        before: those of the level before it, the body's past.
        picks: of frames.
        remade: numbers of what is made again from the past instead of being kept, because it
            begins with different numbers: of `linear(h)` the h, which begins with zeros.
        missing: numbers that should be remade as well for the first level to match.
    """

    clip_graph: fx.GraphModule
    shown: Sequence[fx.Node]
    before: Sequence[fx.Node]
    picks: Mapping[fx.Node, Pick]
    remade: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._body = {node: number for number, node in enumerate(self.shown)}
        self._past = {node: number for number, node in enumerate(self.before)}
        self._fills: set[float] = set()
        # Constants of the first level, and the nodes that they must be the value of.
        self._folded: list[tuple[fx.Node, fx.Node]] = []
        # Pairs of those that match, in the order in which they were found.
        self._matched: dict[tuple[fx.Node, fx.Node], None] = {}

    def match(self, pairs: Sequence[tuple[int, fx.Node]]) -> float | None:
        """What the past holds before the first level; None where that level does not match.

        Args:
            pairs: numbers of the body, each with a node of the first level that must be its like.
        """
        self._fills.clear()
        self._folded.clear()
        self._matched.clear()
        if not all(self._is_like(node, self.shown[number]) for number, node in pairs):
            return None
        if len(self._fills) > 1:
            return None
        fill = next(iter(self._fills), 0.0)
        for body, constant in self._folded:
            value = self._evaluate(body, fill)
            expected = self.clip_graph.get_buffer(str(constant.target))
            if value is None or not torch.equal(value, expected.expand_as(value)):
                self.missing |= self._find_kept(body)
                return None
        return fill

    def _is_like(self, node: fx.Node, body: fx.Node) -> bool:
        if (node, body) in self._matched:
            return True
        fills, folded, matched = set(self._fills), len(self._folded), len(self._matched)
        if self._is_same_operator(node, body) or self._is_simplified(node, body):
            self._matched[node, body] = None
            return True
        self._fills = fills
        del self._folded[folded:]
        while len(self._matched) > matched:
            self._matched.popitem()
        return False

    def _is_same_operator(self, node: fx.Node, body: fx.Node) -> bool:
        if node.op == "get_attr":
            self._folded.append((body, node))
            return _spreads_to(node, body)
        has_shapes = _list_shapes(node) == _list_shapes(body)
        return has_shapes and are_alike(node, body, self._are_operands_alike)

    def _is_simplified(self, node: fx.Node, body: fx.Node) -> bool:
        if body.target is _ATEN.cat.default and node.target is _ATEN.constant_pad_nd.default:
            return self._is_pad_of(node, body)
        operands = body.all_input_nodes
        if body.target not in _NEUTRAL or body.kwargs or len(operands) != 2:
            return False
        for past, other in (operands, operands[::-1]):
            is_whole = other.meta["val"].shape == body.meta["val"].shape
            if self._is_kept(past) and is_whole and self._are_operands_alike(node, other):
                self._fills.add(_NEUTRAL[body.target])
                return True
        return False

    def _are_operands_alike(self, node: fx.Node, body: fx.Node) -> bool:
        if body in self._past:
            return self._can_be_past(node, body)
        if body in self._body:
            return self._is_like(node, body)
        if body in self.picks:
            pick = self.picks.get(node)
            return pick is not None and pick.is_like(self.picks[body]) and pick.index == 0
        return are_equal_constants(self.clip_graph, node, body)

    def _is_kept(self, body: fx.Node) -> bool:
        return body in self._past and self._past[body] not in self.remade

    def _can_be_past(self, node: fx.Node, body: fx.Node) -> bool:
        """Whether a constant can be what the past holds, or what is made of it."""
        if not self._is_kept(body):
            return self._is_same_operator(node, body)
        value = uniform_value(self.clip_graph, node)
        if value is None or not _spreads_to(node, body):
            self.missing.add(self._past[body])
            return False
        self._fills.add(value)
        return True

    def _is_pad_of(self, node: fx.Node, body: fx.Node) -> bool:
        """Whether a pad is a concatenation in which the past holds the pad's value."""
        args, pad = arguments(body), arguments(node)
        parts, flat = list(args["tensors"]), list(pad["pad"])
        rank = len(body.meta["val"].shape)
        dim = args["dim"] % rank
        at = 2 * (rank - 1 - dim)
        sizes = [part.meta["val"].shape[dim] for part in parts]
        for place, part in enumerate(parts):
            widths = [0] * (2 * rank)
            widths[at : at + 2] = sum(sizes[:place]), sum(sizes[place + 1 :])
            others = parts[:place] + parts[place + 1 :]
            if flat + [0] * (2 * rank - len(flat)) != widths or not all(map(self._is_kept, others)):
                continue
            if self._are_operands_alike(pad["self"], part):
                self._fills.add(float(pad["value"] or 0.0))
                return True
        return False

    def _find_kept(self, body: fx.Node) -> set[int]:
        """The numbers of the past that a node is made of."""
        if self._is_kept(body):
            return {self._past[body]}
        inner = [n for n in body.all_input_nodes if n in self._past or n in self._body]
        return set[int]().union(*map(self._find_kept, inner))

    def _evaluate(self, body: fx.Node, fill: float) -> Tensor | None:
        """What a node is before the first frame; None where it depends on one."""
        if body.op == "get_attr":
            return self.clip_graph.get_buffer(str(body.target))
        if self._is_kept(body):
            value = body.meta["val"]
            return torch.full(value.shape, fill, dtype=value.dtype)
        if body not in self._past and body not in self._body:
            return None
        given = {n: self._evaluate(n, fill) for n in body.all_input_nodes}
        if any(value is None for value in given.values()):
            return None
        args, kwargs = fx.map_arg((body.args, body.kwargs), given.__getitem__)  # type: ignore[arg-type]
        target: Any = body.target
        return target(*args, **kwargs)


def _spreads_to(node: fx.Node, body: fx.Node) -> bool:
    """Whether a constant has the shape of a node of the body, or is one row for the whole batch."""
    shapes, wanted = _list_shapes(node), _list_shapes(body)
    return shapes in (wanted, [(1, *shape[1:]) for shape in wanted])


def _list_shapes(node: fx.Node) -> list[tuple[int, ...]]:
    """Of a node's value, or of its values where it has several."""
    return [tuple(value.shape) for value in tree_leaves(node.meta["val"])]
