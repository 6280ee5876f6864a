"""Compares the first level of an unrolled loop with the body, whose past is constant there.

Other passes have already simplified the first level: constants are folded, a concatenation with
zeros is a pad, and a sum starts with its first value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from co3d.compiler.passes.equivalence import Pick, are_equal_constants, are_equivalent
from co3d.compiler.passes.uniform import uniform_value
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
# Operator -> its neutral element.
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
        level: the nodes of the level that represents the body.
        previous: those of the level before it, the body's past.
        picks: the selections of frames.
        remade: numbers of past nodes that are recomputed instead of kept, because they do not start
            with one value everywhere: for `linear(h)` the state is h, which starts with zeros.
        missing: numbers that must be recomputed too for the first level to match.
    """

    clip_graph: fx.GraphModule
    level: Sequence[fx.Node]
    previous: Sequence[fx.Node]
    picks: Mapping[fx.Node, Pick]
    remade: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._body = {node: number for number, node in enumerate(self.level)}
        self._past = {node: number for number, node in enumerate(self.previous)}
        self._fills: set[float] = set()
        # Nodes of the body, and constants of the first level that must be their values.
        self._folded: list[tuple[fx.Node, fx.Node]] = []
        # Matching pairs, in the order in which they were found.
        self._matched: dict[tuple[fx.Node, fx.Node], None] = {}

    def match(self, pairs: Sequence[tuple[int, fx.Node]]) -> float | None:
        """The initial value of the past; None where the first level does not match.

        Args:
            pairs: numbers of the body, each with a node of the first level to match it with.
        """
        self._fills.clear()
        self._folded.clear()
        self._matched.clear()
        if not all(self._matches(node, self.level[number]) for number, node in pairs):
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

    def _matches(self, node: fx.Node, body: fx.Node) -> bool:
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
            return _broadcasts_to(node, body)
        has_shapes = _list_shapes(node) == _list_shapes(body)
        return has_shapes and are_equivalent(node, body, self._do_operands_match)

    def _is_simplified(self, node: fx.Node, body: fx.Node) -> bool:
        if body.target is _ATEN.cat.default and node.target is _ATEN.constant_pad_nd.default:
            return self._is_pad_of(node, body)
        operands = body.all_input_nodes
        if body.target not in _NEUTRAL or body.kwargs or len(operands) != 2:
            return False
        for past, other in (operands, operands[::-1]):
            is_whole = other.meta["val"].shape == body.meta["val"].shape
            if self._is_kept(past) and is_whole and self._do_operands_match(node, other):
                self._fills.add(_NEUTRAL[body.target])
                return True
        return False

    def _do_operands_match(self, node: fx.Node, body: fx.Node) -> bool:
        if body in self._past:
            return self._can_be_past(node, body)
        if body in self._body:
            return self._matches(node, body)
        if body in self.picks:
            pick = self.picks.get(node)
            return pick is not None and pick.has_same_form(self.picks[body]) and pick.index == 0
        return are_equal_constants(self.clip_graph, node, body)

    def _is_kept(self, body: fx.Node) -> bool:
        return body in self._past and self._past[body] not in self.remade

    def _can_be_past(self, node: fx.Node, body: fx.Node) -> bool:
        """Whether a constant can be the past's initial value, or be computed from it."""
        if not self._is_kept(body):
            return self._is_same_operator(node, body)
        value = uniform_value(self.clip_graph, node)
        if value is None or not _broadcasts_to(node, body):
            self.missing.add(self._past[body])
            return False
        self._fills.add(value)
        return True

    def _is_pad_of(self, node: fx.Node, body: fx.Node) -> bool:
        """Whether a pad is a concatenation with a past that holds the pad's value."""
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
            if self._do_operands_match(pad["self"], part):
                self._fills.add(float(pad["value"] or 0.0))
                return True
        return False

    def _find_kept(self, body: fx.Node) -> set[int]:
        """The numbers of the past that a node depends on."""
        if self._is_kept(body):
            return {self._past[body]}
        inner = [n for n in body.all_input_nodes if n in self._past or n in self._body]
        return set[int]().union(*map(self._find_kept, inner))

    def _evaluate(self, body: fx.Node, fill: float) -> Tensor | None:
        """A node's value before the first frame; None where it depends on a frame."""
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


def _broadcasts_to(node: fx.Node, body: fx.Node) -> bool:
    """Whether a constant has the shape of a node of the body, possibly with a batch of one."""
    shapes, wanted = _list_shapes(node), _list_shapes(body)
    return shapes in (wanted, [(1, *shape[1:]) for shape in wanted])


def _list_shapes(node: fx.Node) -> list[tuple[int, ...]]:
    """The shapes of a node's values."""
    return [tuple(value.shape) for value in tree_leaves(node.meta["val"])]
