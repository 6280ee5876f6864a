"""Decides which block of memory each newest element is written to.

A state of `depth` elements has `depth` blocks. Its newest element cannot be written over the oldest
one, which is still read in this step; so it goes to a spare block, and the block of the oldest
element is spare afterwards. States of one size follow each other, so one spare block does for many:

    layer 1 reads A's oldest, layer 2 reads B's oldest      spare before: s
    A's newest -> s           after layer 1, A's oldest is free
    B's newest -> A's oldest  after layer 2, B's oldest is free
                                                            spare after: B's oldest

Spare blocks belong to workers, not to slots: a slot holds its elements and nothing else. What was
read last is in the processor's caches, so that writing over it is quick.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from co3d.backends.fusion.groups import SumDepthwise
from co3d.backends.fusion.plan import FusedPlan

# A spare block of a size, or the oldest element of an update: ("spare", size, which of that size),
# ("oldest", number of the update, 0).
Block = tuple[str, int, int]


@dataclass(frozen=True)
class Exchange:
    """What one step graph does with blocks.

    Attributes:
        sources: per update the block that its newest element is written to.
        left: by size, the blocks that are spare after the step, as many as before.
    """

    sources: tuple[Block, ...]
    left: dict[int, tuple[Block, ...]]


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
    frees: list[list[int]] = [[] for _ in range(end + 2)]  # from before the first place on
    for update, state in enumerate(updates):
        node = fused.newest[update]
        # One that no kernel writes, or that another state has too, is copied at the end.
        is_first = node is not None and fused.newest.index(node) == update
        place = written.get(node, end) if node is not None and is_first else end
        takes[place].append(update)
        oldest = fused.inputs[first_element + sum(depths[: state + 1]) - 1]
        frees[read.get(oldest, -1) + 1].append(update)
    free: dict[int, list[Block]] = {sizes[state]: [] for state in updates}
    spares = dict.fromkeys(free, 0)
    sources: dict[int, Block] = {}

    def release(place: int) -> None:
        for update in frees[place + 1]:
            free[sizes[updates[update]]].append(("oldest", update, 0))

    release(-1)
    for place in range(end + 1):
        for update in takes[place]:
            size = sizes[updates[update]]
            if free[size]:
                sources[update] = free[size].pop()
            else:
                sources[update] = ("spare", size, spares[size])
                spares[size] += 1
        release(place)
    left = {size: tuple(blocks) for size, blocks in free.items()}
    assert all(len(left[size]) == count for size, count in spares.items())
    return Exchange(tuple(sources[update] for update in range(len(updates))), left)


def _find_written(fused: FusedPlan, first_element: int) -> dict[object, int]:
    """At which place of the order a kernel writes each value; frames are laid out before all."""
    places: dict[object, int] = {
        node: 0 for node in fused.inputs[:first_element] if fused.values[node].is_floating_point()
    }
    for place, node in enumerate(fused.order):
        group = fused.groups.get(node)
        if group is not None and node in fused.written:
            places[node] = place
            if isinstance(group, SumDepthwise):
                places.update(dict.fromkeys(group.beside, place))
    return places


def _find_last_reads(fused: FusedPlan) -> dict[object, int]:
    """The place after which nobody reads each input; the end for what PyTorch reads or returns.

    What PyTorch makes may be a view of what it reads.
    """
    last: dict[object, int] = {}
    for place, done in enumerate(fused.done):
        last.update(dict.fromkeys(done, place))
    late = {fused.origin(node) for node in fused.outputs if node is not None} | fused.shown
    return last | dict.fromkeys(late, len(fused.order))
