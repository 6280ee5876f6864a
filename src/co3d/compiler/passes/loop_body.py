"""What an unrolled loop computes per frame: found by comparing its levels with each other."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from co3d.compiler.passes.uniform import uniform_value
from co3d.compiler.rules.registry import arguments

_ATEN = torch.ops.aten
# What leaves another operand as it is.
_NEUTRAL = {
    _ATEN.add.Tensor: 0.0,
    _ATEN.maximum.default: float("-inf"),
    _ATEN.minimum.default: float("inf"),
}


@dataclass(frozen=True)
class Pick:
    """One element of `x` along an axis, which the picked value may keep with a size of one."""

    x: fx.Node
    dim: int
    index: int
    keeps_axis: bool

    @property
    def source(self) -> tuple[fx.Node, int]:
        """What it takes elements of, whichever it takes."""
        return self.x, self.dim


@dataclass(frozen=True)
class Body:
    """What every level of a loop computes, shown by the nodes of one of them.

    Attributes:
        nodes: in graph order.
        past: of what the nodes read of the level before, the node of this level that is its like.
        collected: for each collector the node that it gathers.
        last: for each of the nodes that others read of the last level, those readers, with the
            node that they read.
        fill: what the past holds before the first level.
    """

    nodes: tuple[fx.Node, ...]
    past: Mapping[fx.Node, fx.Node]
    collected: Mapping[fx.Node, fx.Node]
    last: Mapping[fx.Node, tuple[fx.Node, Sequence[fx.Node]]]
    fill: float


def find_body(
    clip_graph: fx.GraphModule,
    levels: Sequence[Sequence[fx.Node]],
    picks: Mapping[fx.Node, Pick],
    collectors: Mapping[fx.Node, Sequence[fx.Node]],
    elsewhere: Container[fx.Node],
) -> Body | None:
    """The body of a loop; None where its levels are not all alike.

    Args:
        clip_graph: the graph, and its constants.
        levels: the nodes of each level, at least four, in graph order.
        picks: of the frames.
        collectors: nodes that gather one value of each level in order, with those values.
        elsewhere: nodes of all loops; what reads the last level from another one is left to it.
    """
    return _Loop(clip_graph, levels, picks).find(collectors, elsewhere)


@dataclass
class _Loop:
    clip_graph: fx.GraphModule
    levels: Sequence[Sequence[fx.Node]]
    picks: Mapping[fx.Node, Pick]
    # Where a node stands: its level, and its number there.
    place: dict[fx.Node, tuple[int, int]] = field(default_factory=dict)
    # Per number: the node of the first level that the second reads as its past.
    first: dict[int, fx.Node] = field(default_factory=dict)
    # Per number: its like in the last level, which need not have all.
    end: dict[int, fx.Node] = field(default_factory=dict)
    fills: set[float] = field(default_factory=set)
    # Constants of the first level, and the numbers of what they must be the value of.
    folded: list[tuple[int, fx.Node]] = field(default_factory=list)
    # Pairs of those that match, in the order in which they were found.
    matched: dict[tuple[int, fx.Node], None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for level, nodes in enumerate(self.levels):
            self.place.update((node, (level, number)) for number, node in enumerate(nodes))

    @property
    def shown(self) -> Sequence[fx.Node]:
        """The level that stands for all: the last but one, whose past is an inner level too."""
        return self.levels[-2]

    def find(
        self, collectors: Mapping[fx.Node, Sequence[fx.Node]], elsewhere: Container[fx.Node]
    ) -> Body | None:
        """See `find_body`."""
        if not self.shown or not self._inner_levels_are_alike():
            return None
        self._match_last_level()
        collected: dict[fx.Node, int] = {}
        for collector, parts in collectors.items():
            number = self._common_number(parts)
            if number is None:
                return None
            collected[collector] = number
        known = {node: number for number, node in self.end.items()}
        last = {
            number: (node, readers)
            for node, number in known.items()
            if (readers := self._list_readers(node, known, collectors, elsewhere))
        }
        needed, carried = self._close({*collected.values(), *last})
        pairs = [(number, self.first.get(number)) for number in sorted(carried)]
        pairs += [(number, collectors[c][0]) for c, number in collected.items()]
        if not needed or not all(z and self._matches_first(number, z) for number, z in pairs):
            return None
        fill = self.fills.pop() if self.fills else 0.0
        if self.fills or not all(self._is_value(number, z, fill) for number, z in self.folded):
            return None
        shown = self.shown
        return Body(
            tuple(shown[number] for number in sorted(needed)),
            {self.levels[-3][number]: shown[number] for number in sorted(carried)},
            {collector: shown[number] for collector, number in collected.items()},
            {shown[number]: reading for number, reading in last.items()},
            fill,
        )

    def _list_readers(
        self,
        node: fx.Node,
        known: Container[fx.Node],
        collectors: Container[fx.Node],
        elsewhere: Container[fx.Node],
    ) -> list[fx.Node]:
        """What reads a node of the last level, but for the loop itself and other loops."""
        return [
            user
            for user in node.users
            if user not in known
            and user not in collectors
            and (user in self.place or user not in elsewhere)
        ]

    def _inner_levels_are_alike(self) -> bool:
        inner = self.levels[1:-1]
        if len({len(nodes) for nodes in inner}) > 1:
            return False
        return all(
            self._is_alike(node, like, self._inner_operands)
            for lower, nodes in zip(inner, inner[1:], strict=False)
            for like, node in zip(lower, nodes, strict=True)
        )

    def _inner_operands(self, one: fx.Node, like: fx.Node, level: int) -> bool:
        """Whether operands of nodes of a level and of the one before it are alike."""
        if one not in self.place or like not in self.place:
            return self._outer_operands(one, like, level)
        (own, number), (lower, like_number) = self.place[one], self.place[like]
        if own != lower + 1 or own not in (level, level - 1):
            return False
        if lower == 0:
            return self.first.setdefault(number, like) is like
        return number == like_number

    def _outer_operands(self, one: fx.Node, like: fx.Node, level: int) -> bool:
        """The same of frames and constants."""
        if one in self.picks and like in self.picks:
            a, b = self.picks[one], self.picks[like]
            alike = (a.source, a.keeps_axis) == (b.source, b.keeps_axis)
            return alike and a.index == level and b.index == level - 1
        if any(n in self.picks or n in self.place for n in (one, like)):
            return False
        return self._are_equal_constants(one, like)

    def _match_last_level(self) -> None:
        top = len(self.levels) - 1
        waiting = list(self.levels[-1])

        def operands(one: fx.Node, like: fx.Node, level: int) -> bool:
            if one not in self.place or like not in self.place:
                return self._outer_operands(one, like, level)
            lower, number = self.place[like]
            return self.end.get(number) is one if lower == top - 1 else (
                lower == top - 2 and self.place[one] == (top - 1, number)
            )

        for number, like in enumerate(self.shown):
            found = next((n for n in waiting if self._is_alike(n, like, operands)), None)
            if found is not None:
                self.end[number] = found
                waiting.remove(found)

    def _is_alike(
        self, node: fx.Node, like: fx.Node, operands: Callable[[fx.Node, fx.Node, int], bool]
    ) -> bool:
        if node.target != like.target:
            return False
        level = self.place[node][0]
        mine, theirs = (node.args, node.kwargs), (like.args, like.kwargs)
        return _compare(mine, theirs, lambda a, b: operands(a, b, level))

    def _common_number(self, parts: Sequence[fx.Node]) -> int | None:
        """Which node of every level is gathered, if it is always the same one."""
        if any(part not in self.place for part in parts[1:]):
            return None
        numbers = {self.place[part] for part in parts[1:-1]}
        number = self.place[parts[1]][1]
        expected = {(level, number) for level in range(1, len(parts) - 1)}
        if numbers != expected or self.end.get(number) is not parts[-1]:
            return None
        return number

    def _close(self, wanted: set[int]) -> tuple[set[int], set[int]]:
        """The numbers of all that these depend on, and of those that are read as past."""
        needed, carried, waiting = set[int](), set[int](), list(wanted)
        while waiting:
            number = waiting.pop()
            if number in needed:
                continue
            needed.add(number)
            for operand in self.shown[number].all_input_nodes:
                if operand in self.place:
                    level, read = self.place[operand]
                    waiting.append(read)
                    if level < len(self.levels) - 2:
                        carried.add(read)
        return needed, carried

    def _matches_first(self, number: int, node: fx.Node) -> bool:
        """Whether a node of the first level is what the body makes of constants as its past."""
        if (number, node) in self.matched:
            return True
        fills, folded, matched = set(self.fills), len(self.folded), len(self.matched)
        if self._matches(number, node):
            self.matched[number, node] = None
            return True
        self.fills = fills
        del self.folded[folded:]
        while len(self.matched) > matched:
            self.matched.popitem()
        return False

    def _matches(self, number: int, node: fx.Node) -> bool:
        body = self.shown[number]
        if node.op == "get_attr":
            self.folded.append((number, node))
            return True
        if node.target == body.target and _compare(
            (node.args, node.kwargs), (body.args, body.kwargs), self._first_operands
        ):
            return True
        if body.target is _ATEN.cat.default and node.target is _ATEN.constant_pad_nd.default:
            return self._matches_pad(body, node)
        if body.target in _NEUTRAL and not body.kwargs and len(body.all_input_nodes) == 2:
            for past, other in (body.all_input_nodes, reversed(body.all_input_nodes)):
                if self._is_past(past) and self._first_operands(node, other):
                    self.fills.add(_NEUTRAL[body.target])
                    return True
        return False

    def _is_past(self, node: fx.Node) -> bool:
        return self.place.get(node, (-1, 0))[0] == len(self.levels) - 3

    def _first_operands(self, node: fx.Node, like: fx.Node) -> bool:
        """Whether an operand in the first level is that of the body, with constants as its past."""
        if self._is_past(like):
            value = uniform_value(self.clip_graph, node)
            if value is None or node.meta["val"].shape != like.meta["val"].shape:
                return False
            self.fills.add(value)
            return True
        if like in self.place:
            return self._matches_first(self.place[like][1], node)
        if like in self.picks:
            wanted = self.picks[like]
            pick = self.picks.get(node)
            return (
                pick is not None
                and (pick.source, pick.keeps_axis) == (wanted.source, wanted.keeps_axis)
                and pick.index == 0
            )
        return node not in self.picks and node not in self.place and (
            self._are_equal_constants(node, like)
        )

    def _matches_pad(self, body: fx.Node, node: fx.Node) -> bool:
        """A concatenation with constant values was written as a pad."""
        args, pad = arguments(body), arguments(node)
        parts, value = list(args["tensors"]), float(pad["value"] or 0.0)
        dim, rank = args["dim"] % len(body.meta["val"].shape), len(body.meta["val"].shape)
        flat = list(pad["pad"])
        sizes = [part.meta["val"].shape[dim] for part in parts]
        for place, part in enumerate(parts):
            widths = [0] * len(flat)
            if len(flat) < 2 * (rank - dim):
                return False
            at = 2 * (rank - 1 - dim)
            widths[at : at + 2] = [sum(sizes[:place]), sum(sizes[place + 1 :])]
            others = [p for p in parts if p is not part]
            if widths == flat and all(self._is_past(p) for p in others):
                if self._first_operands(pad["self"], part):
                    self.fills.add(value)
                    return True
        return False

    def _are_equal_constants(self, one: fx.Node, other: fx.Node) -> bool:
        if one is other:
            return True
        if one.op != "get_attr" or other.op != "get_attr":
            return False
        a, b = (self.clip_graph.get_buffer(str(n.target)) for n in (one, other))
        return a.dtype == b.dtype and torch.equal(a, b)

    def _is_value(self, number: int, node: fx.Node, fill: float) -> bool:
        """Whether a constant is what a node of the body makes of its past, and of no frame."""
        value = self._evaluate(self.shown[number], fill)
        constant = self.clip_graph.get_buffer(str(node.target))
        return value is not None and torch.equal(value, constant)

    def _evaluate(self, node: fx.Node, fill: float) -> Tensor | None:
        if self._is_past(node):
            value = node.meta["val"]
            return torch.full(value.shape, fill, dtype=value.dtype)
        if node.op == "get_attr":
            return self.clip_graph.get_buffer(str(node.target))
        if node not in self.place:
            return None
        given = {n: self._evaluate(n, fill) for n in node.all_input_nodes}
        if any(value is None for value in given.values()):
            return None
        args, kwargs = fx.map_arg((node.args, node.kwargs), given.__getitem__)  # type: ignore[arg-type]
        target: Any = node.target
        return target(*args, **kwargs)


def _compare(one: Any, other: Any, nodes: Callable[[fx.Node, fx.Node], bool]) -> bool:
    """Whether arguments are equal, their nodes by a rule of their own."""
    if isinstance(one, fx.Node) and isinstance(other, fx.Node):
        return nodes(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(
            _compare(a, b, nodes) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_compare(one[k], other[k], nodes) for k in one)
    return type(one) is type(other) and one == other
