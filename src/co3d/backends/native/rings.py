"""State in rings of buffers: each newest element is written over one that has dropped out."""

import ctypes
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from co3d.backends.contract import StepFunction
from co3d.backends.native.memory import Reserve
from co3d.backends.native.step import PlannedStep


class Rings:
    """Elements of state that stay where they are while their meaning moves on.

        a state of two elements   step 0      step 1      step 2
        buffer A                  past 2      newest      past 1
        buffer B                  past 1      past 2      newest
        buffer C                  newest      past 1      past 2

    So a step moves one number per state, the place of the newest element, and a kernel fills in the
    addresses: handing hundreds of tensors on took as long as a tenth of an X3D-M step.

    See `co3d.backends.contract.Past`.
    """

    def __init__(
        self, elements: Sequence[Sequence[Tensor]], reserve: Reserve, library: Any
    ) -> None:
        self._library = library
        self._buffers = [
            [reserve.take_value(like.shape, like.dtype).copy_(like) for like in (*past, past[0])]
            for past in elements
        ]
        lengths = [len(ring) for ring in self._buffers]
        self._lengths = _make_numbers(lengths)
        # Where the next newest element goes; the past ones follow it, newest first.
        self._heads = _make_numbers([length - 1 for length in lengths])
        places = [buffer.data_ptr() for ring in self._buffers for buffer in ring]
        self._addresses = (ctypes.c_void_p * max(len(places), 1))(*places)
        # Of each function, which always goes with the same updates.
        self._bound: dict[PlannedStep, tuple[Any, Any]] = {}

    def step(
        self, function: StepFunction, inputs: Sequence[Tensor], updates: Sequence[int]
    ) -> list[Tensor | None]:
        """See `Past.step`."""
        assert isinstance(function, PlannedStep)
        if function not in self._bound:
            self._bound[function] = self._bind(function, len(inputs), updates)
        places, updated = self._bound[function]
        library = self._library
        library.co3d_bind(
            function.table, places, self._addresses, self._lengths, self._heads, len(self._buffers)
        )
        results = function.run(
            inputs,
            self._find_element,
            lambda number: self._buffers[updates[number]][self._heads[updates[number]]],
        )
        library.co3d_turn(self._lengths, self._heads, updated, len(updates))
        return results

    def get(self, state: int) -> list[Tensor]:
        """See `Past.get`."""
        ring = self._buffers[state]
        return [ring[self._find_slot(state, age)] for age in range(1, len(ring))]

    def set(self, state: int, elements: Sequence[Tensor]) -> None:
        """See `Past.set`; they are copied."""
        for age, element in enumerate(elements, 1):
            self._buffers[state][self._find_slot(state, age)].copy_(element)

    def _find_slot(self, state: int, age: int) -> int:
        """Where in its ring an element lies that is so many steps old; 0 is the next one."""
        return (self._heads[state] + age) % self._lengths[state]

    def _find_element(self, number: int) -> Tensor:
        """The element of this number, where they are counted through all states."""
        for state, ring in enumerate(self._buffers):
            if number < len(ring) - 1:
                return ring[self._find_slot(state, number + 1)]
            number -= len(ring) - 1
        raise AssertionError("a step graph has no more inputs than there are elements")

    def _bind(self, function: PlannedStep, frames: int, updates: Sequence[int]) -> tuple[Any, Any]:
        """Which buffers of a step its elements are, by state the newest and the past ones."""
        places: list[int] = []
        position = frames
        for state, ring in enumerate(self._buffers):
            newest = function.find_newest(updates.index(state)) if state in updates else None
            places.append(-1 if newest is None else newest)
            for _ in ring[1:]:
                places.append(function.plan.inputs.get(position, -1))
                position += 1
        return _make_numbers(places), _make_numbers(updates)


def _make_numbers(numbers: Sequence[int]) -> Any:
    return (ctypes.c_int32 * max(len(numbers), 1))(*numbers)
