"""Plans the state of a stream: which values to keep, and how many elements of each."""

import re
from collections.abc import Collection, Iterator

import torch
from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.rules import Use
from co3d.compiler.temporal import StateSpec, TemporalType

# A state holds the past of one value, with one fill (padding value) for elements outside the clip.
StateKey = tuple[fx.Node, float]


def find_element(
    use: Use, type_: TemporalType, reader: TemporalType, *, dense: bool
) -> tuple[int, bool]:
    """Which element a use reads, counted back from the newest, and whether that is made this tick.

    In native rate a value is not made at every tick. If it is not made at the tick of its reader,
    its newest element is already in its state, and the reader finds it there (a latch):

        reader (s=4 d=5)     .  .  .  .  .  r        reads the element of tick 4: back = 1 tick,
        value  (s=2 d=0)     v  .  v  .  v  .        newest but not now: state entry 0
    """
    if dense:
        return use.back, True
    late = (reader.delay - type_.delay) % type_.stride
    assert (use.back - late) % type_.stride == 0, (use, type_, reader)
    return (use.back - late) // type_.stride, late == 0


def plan_states(analysis: Analysis, *, dense: bool) -> dict[StateKey, StateSpec]:
    """The states to keep, each as deep as the oldest element that is read of its value.

    Reads without a fill (delay lines) share the state of another fill if there is one.
    """
    depths: dict[fx.Node, dict[float, int]] = {}
    readings = [
        (use, depth)
        for use, reader in _readings(analysis)
        if (depth := _depth(use, analysis.types[use.node], reader, dense))
    ]
    for use, depth in readings:
        if use.fill is not None:
            fills = depths.setdefault(use.node, {})
            fills[use.fill] = max(fills.get(use.fill, 0), depth)
    for use, depth in readings:
        if use.fill is None:
            fills = depths.setdefault(use.node, {})
            fill = shared_fill(fills, use.node)
            fills[fill] = max(fills.get(fill, 0), depth)
    states: dict[StateKey, StateSpec] = {}
    for node, type_ in analysis.types.items():
        for fill, depth in sorted(depths.get(node, {}).items()):
            value = node.meta["val"]
            name = node.name if fill == 0 else f"{node.name}_outside_{_identifier(fill)}"
            states[node, fill] = StateSpec(
                name, type_.frame_shape(tuple(value.shape)), depth, fill, value.dtype
            )
    return states


def shared_fill(fills: Collection[float], node: fx.Node) -> float:
    """The fill of the state that reads without a fill share, given the fills of a value."""
    # Of the value's dtype: a bool mask combined with 0.0 would become a float.
    zero = torch.zeros((), dtype=node.meta["val"].dtype).item()
    return zero if not fills or 0.0 in fills else min(fills)


def _readings(analysis: Analysis) -> Iterator[tuple[Use, TemporalType]]:
    for lowering in analysis.lowerings.values():
        for variant in lowering.variants:
            yield from ((use, variant.type) for use in variant.uses)
    yield from ((use, analysis.timing) for use in analysis.results)


def _depth(use: Use, type_: TemporalType, reader: TemporalType, dense: bool) -> int:
    back, is_made_now = find_element(use, type_, reader, dense=dense)
    return back + (not is_made_now)


def _identifier(fill: float) -> str:
    return re.sub(r"\W", "_", str(fill).replace("-", "minus_"))
