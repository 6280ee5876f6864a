"""Finds the body of an unrolled loop by comparing its levels (iterations) with each other."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import fx

from co3d.compiler.passes.equivalence import (
    CompareOperands,
    Pick,
    are_equal_constants,
    are_equivalent,
)
from co3d.compiler.passes.loop_start import LoopStart


@dataclass(frozen=True)
class Body:
    """The body of a loop, represented by the nodes of one of its levels.

    Attributes:
        nodes: in graph order; those of the previous level are recomputed from the past.
        past: node of the previous level that the body reads -> its counterpart in this level.
        collected: collector -> the node that it gathers.
        last: node that is read of the last level -> its counterpart there, and its readers.
        fill: value of the past before the first level.
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
    """The body of a loop; None where its levels are not equivalent.

    Args:
        clip_graph: the graph, and its constants.
        levels: the nodes of each level, at least four, in graph order.
        picks: the selections of frames.
        collectors: nodes that gather one value of each level in order, with those values.
        elsewhere: nodes of all loops; readers in other loops are ignored.
    """
    return _Loop(clip_graph, levels, picks).find(collectors, elsewhere)


@dataclass
class _Loop:
    clip_graph: fx.GraphModule
    levels: Sequence[Sequence[fx.Node]]
    picks: Mapping[fx.Node, Pick]
    # The position of a node: its level, and its number in that level.
    place: dict[fx.Node, tuple[int, int]] = field(default_factory=dict)
    # Number -> the node of the first level that the second reads as its past.
    first: dict[int, fx.Node] = field(default_factory=dict)
    # Number -> its counterpart in the last level, which need not have all.
    end: dict[int, fx.Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for level, nodes in enumerate(self.levels):
            self.place.update((node, (level, number)) for number, node in enumerate(nodes))
        # The level that represents the body has an inner one before it, as its past.
        self.level, self.previous = self.levels[-2], self.levels[-3]
        self.start = LoopStart(self.clip_graph, self.level, self.previous, self.picks)

    def find(
        self, collectors: Mapping[fx.Node, Sequence[fx.Node]], elsewhere: Container[fx.Node]
    ) -> Body | None:
        """See `find_body`."""
        if not self._are_inner_levels_equivalent():
            return None
        self._match_last_level()
        collected: dict[fx.Node, int] = {}
        for collector, parts in collectors.items():
            number = self._common_number(parts)
            if number is None:
                return None
            collected[collector] = number
        last = self._find_last(collectors, elsewhere)
        started = self._match_start(
            {*collected.values(), *last},
            [(number, collectors[collector][0]) for collector, number in collected.items()],
        )
        if started is None:
            return None
        needed, carried, fill = started
        remade = [self.previous[number] for number in sorted(self._list_remade(needed))]
        return Body(
            (*remade, *(self.level[number] for number in sorted(needed))),
            {self.previous[number]: self.level[number] for number in sorted(carried)},
            {collector: self.level[number] for collector, number in collected.items()},
            {self.level[number]: reading for number, reading in last.items()},
            fill,
        )

    def _match_start(
        self, wanted: set[int], pairs: Sequence[tuple[int, fx.Node]]
    ) -> tuple[set[int], set[int], float] | None:
        """The numbers that are needed, those that are kept as past, and the past's initial value.

        Args:
            wanted: numbers of the nodes that are read outside the loop.
            pairs: numbers, each with the node of the first level that must be its counterpart.
        """
        start = self.start
        while wanted:
            closed = self._find_dependencies(wanted)
            if closed is None:
                return None
            needed, carried = closed
            fill = start.match([*pairs, *((n, self.first[n]) for n in sorted(carried))])
            if fill is not None:
                return needed, carried, fill
            if start.missing <= start.remade:
                return None
            start.remade |= start.missing
        return None

    def _are_inner_levels_equivalent(self) -> bool:
        inner = self.levels[1:-1]
        if not self.level or len({len(nodes) for nodes in inner}) > 1:
            return False
        return all(
            are_equivalent(node, like, self._compare_inner(level))
            for level, (lower, nodes) in enumerate(pairwise(inner), 2)
            for like, node in zip(lower, nodes, strict=True)
        )

    def _compare_inner(self, level: int) -> CompareOperands:
        """The function that compares operands of a level with those of the previous one."""

        def compare(one: fx.Node, like: fx.Node) -> bool:
            if one not in self.place or like not in self.place:
                return self._do_outer_operands_match(one, like, level)
            (own, number), (lower, lower_number) = self.place[one], self.place[like]
            if own != lower + 1 or own not in (level, level - 1):
                return False
            if lower == 0:
                return self.first.setdefault(number, like) is like
            return number == lower_number

        return compare

    def _do_outer_operands_match(self, one: fx.Node, like: fx.Node, level: int) -> bool:
        """Whether operands from outside are the frames of two levels, or the same constant."""
        if one in self.picks and like in self.picks:
            a, b = self.picks[one], self.picks[like]
            return a.has_same_form(b) and a.index == level and b.index == level - 1
        if any(n in self.picks or n in self.place for n in (one, like)):
            return False
        return are_equal_constants(self.clip_graph, one, like)

    def _match_last_level(self) -> None:
        """Find the body's counterparts in the last level, which also has what follows the loop."""
        top = len(self.levels) - 1
        waiting = list(self.levels[-1])

        def compare(one: fx.Node, like: fx.Node) -> bool:
            if one not in self.place or like not in self.place:
                return self._do_outer_operands_match(one, like, top)
            lower, number = self.place[like]
            if lower == top - 1:
                return self.end.get(number) is one
            return lower == top - 2 and self.place[one] == (top - 1, number)

        for number, like in enumerate(self.level):
            found = next((node for node in waiting if are_equivalent(node, like, compare)), None)
            if found is not None:
                self.end[number] = found
                waiting.remove(found)

    def _common_number(self, parts: Sequence[fx.Node]) -> int | None:
        """The number of the node that is gathered of each level; None where numbers differ."""
        if any(part not in self.place for part in parts[1:]):
            return None
        number = self.place[parts[1]][1]
        inner = [self.place[part] for part in parts[1:-1]]
        is_common = inner == [(level, number) for level in range(1, len(parts) - 1)]
        return number if is_common and self.end.get(number) is parts[-1] else None

    def _find_last(
        self, collectors: Container[fx.Node], elsewhere: Container[fx.Node]
    ) -> dict[int, tuple[fx.Node, list[fx.Node]]]:
        """The nodes of the last level that are read outside this loop and other loops."""
        own = set(self.end.values())
        found = {}
        for number, node in self.end.items():
            readers = [
                user
                for user in node.users
                if user not in own
                and user not in collectors
                and (user in self.place or user not in elsewhere)
            ]
            if readers:
                found[number] = (node, readers)
        return found

    def _find_dependencies(self, wanted: set[int]) -> tuple[set[int], set[int]] | None:
        """The numbers of all dependencies of these, and of those that are kept as past.

        None where the past cannot be recomputed from the values kept.
        """
        needed, carried, waiting = set[int](), set[int](), list(wanted)
        while waiting:
            number = waiting.pop()
            if number in needed:
                continue
            needed.add(number)
            for operand in self._placed(self.level[number]):
                level, read = self.place[operand]
                if level == len(self.levels) - 2:
                    waiting.append(read)
                    continue
                kept = self._find_kept(read)
                if kept is None:
                    return None
                carried |= kept
                waiting += kept
        return needed, carried

    def _find_kept(self, number: int) -> set[int] | None:
        """What must be kept for a node of the past: itself, or the values to recompute it from."""
        if number not in self.start.remade:
            return {number}
        kept = set[int]()

        def compare(first: fx.Node, operand: fx.Node) -> bool:
            if operand not in self.place:
                return are_equal_constants(self.clip_graph, first, operand)
            level, read = self.place[operand]
            if level != len(self.levels) - 3 or self.first.setdefault(read, first) is not first:
                return False
            inner = self._find_kept(read)
            kept.update(inner or ())
            return inner is not None

        made_alike = are_equivalent(self.first[number], self.previous[number], compare)
        return kept if made_alike else None

    def _list_remade(self, needed: set[int]) -> set[int]:
        """The numbers of the past that is recomputed: read by needed nodes, or by each other."""
        waiting = [self.level[number] for number in needed]
        found = set[int]()
        while waiting:
            for operand in self._placed(waiting.pop()):
                level, number = self.place[operand]
                is_new = number in self.start.remade and number not in found
                if level == len(self.levels) - 3 and is_new:
                    found.add(number)
                    waiting.append(operand)
        return found

    def _placed(self, node: fx.Node) -> list[fx.Node]:
        return [operand for operand in node.all_input_nodes if operand in self.place]
