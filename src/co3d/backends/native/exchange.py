"""Decides which block of memory each newest element is written to.

A state of `depth` elements has `depth` blocks. The newest element cannot overwrite the oldest one,
which the same step still reads. It is therefore written to a spare block, and the block of the
oldest element becomes spare. One spare block suffices for many states of one size, because each
state frees a block before the next one needs it:

    layer 1 reads A's oldest, layer 2 reads B's oldest      spare before: s
    A's newest -> s           after layer 1, A's oldest is free
    B's newest -> A's oldest  after layer 2, B's oldest is free
                                                            spare after: B's oldest

Spare blocks belong to workers, not to slots. A spare block was read a moment ago and is still in
the processor's caches, so that overwriting it is quick.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from co3d.backends.fusion.groups import SumDepthwise
from co3d.backends.fusion.plan import FusedPlan

# Either ("spare", size in bytes, index among the spare blocks of that size) or ("oldest", index of
# the update, 0), which is the block of that state's oldest element.
Block = tuple[str, int, int]


@dataclass(frozen=True)
class Exchange:
    """The blocks that one step of a graph writes and frees.

    Attributes:
        targets: per update, the block that its newest element is written to.
        spares_after: by size in bytes, the blocks that are spare after the step; they are as many
            as before it.
    """

    targets: tuple[Block, ...]
    spares_after: dict[int, tuple[Block, ...]]


def plan_exchange(
    fused: FusedPlan,
    first_element: int,
    depths: Sequence[int],
    updates: Sequence[int],
    sizes: Sequence[int],
) -> Exchange:
    """Plan the blocks of one step graph.

    Args:
        fused: the graph, whose newest elements are those of `updates`, in order.
        first_element: position of the first element of state among the graph's inputs.
        depths: elements of each state.
        updates: the states that get a newest element.
        sizes: bytes of a block of each state.
    """
    end = len(fused.order)
    written = _find_written(fused, first_element)
    read = _find_last_reads(fused)
    takes: list[list[int]] = [[] for _ in range(end + 1)]
    frees: list[list[int]] = [[] for _ in range(end + 2)]  # index 0: before the first operation
    for update, state in enumerate(updates):
        node = fused.newest[update]
        # A newest element that no kernel writes, or that two states share, is copied at the end.
        is_first = node is not None and fused.newest.index(node) == update
        place = written.get(node, end) if node is not None and is_first else end
        takes[place].append(update)
        oldest = fused.inputs[first_element + sum(depths[: state + 1]) - 1]
        frees[read.get(oldest, -1) + 1].append(update)
    free: dict[int, list[Block]] = {sizes[state]: [] for state in updates}
    spares = dict.fromkeys(free, 0)
    targets: dict[int, Block] = {}

    def release(place: int) -> None:
        for update in frees[place + 1]:
            free[sizes[updates[update]]].append(("oldest", update, 0))

    release(-1)
    for place in range(end + 1):
        for update in takes[place]:
            size = sizes[updates[update]]
            if free[size]:
                targets[update] = free[size].pop()
            else:
                targets[update] = ("spare", size, spares[size])
                spares[size] += 1
        release(place)
    spares_after = {size: tuple(blocks) for size, blocks in free.items()}
    assert all(len(spares_after[size]) == count for size, count in spares.items())
    return Exchange(tuple(targets[update] for update in range(len(updates))), spares_after)


def _find_written(fused: FusedPlan, first_element: int) -> dict[object, int]:
    """Per value, the index in the order at which a kernel writes it; frames are written first."""
    places: dict[object, int] = {
        node: 0 for node in fused.inputs[:first_element] if fused.values[node].is_floating_point()
    }
    for place, node in enumerate(fused.order):
        group = fused.groups.get(node)
        if group is not None and node in fused.written:
            places[node] = place
            if isinstance(group, SumDepthwise):
                places.update(dict.fromkeys(group.additional, place))
    return places


def _find_last_reads(fused: FusedPlan) -> dict[object, int]:
    """Per value, the index in the order of its last read.

    It is the end of the order for values that PyTorch reads or the graph returns, because what
    PyTorch makes of them may be a view.
    """
    last: dict[object, int] = {}
    for place, dead in enumerate(fused.dead_after):
        last.update(dict.fromkeys(dead, place))
    late = {fused.origin(node) for node in fused.outputs if node is not None} | fused.read_by_torch
    return last | dict.fromkeys(late, len(fused.order))
