"""The block plan of a step graph as a C struct, in the layout that kernels/rings.hpp reads."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

from co3d.backends.native.exchange import Block, Exchange
from co3d.backends.native.plan import NativeSteps
from co3d.backends.native.state import NativeState, StateLayout
from co3d.backends.native.step import PreparedStep
from co3d.compiler.program import Program

_Numbers = ctypes.POINTER(ctypes.c_int32)


class _ExchangeStruct(ctypes.Structure):
    _fields_ = [
        ("states", ctypes.c_int32),
        ("updates", ctypes.c_int32),
        ("spares", ctypes.c_int32),
        *[
            (name, _Numbers)
            for name in (
                "depths",
                "places",
                "updated",
                "firsts",
                "newest_places",
                "targets",
                "spares_after",
            )
        ],
    ]


class StepPlanStruct(ctypes.Structure):
    """The struct `StepPlan` of kernels/kernels.cpp."""

    _fields_ = [
        ("operations", ctypes.c_void_p),
        ("count", ctypes.c_long),
        ("exchange", _ExchangeStruct),
        ("frames", ctypes.c_int32),
        ("results", ctypes.c_int32),
        ("frame_places", _Numbers),
        ("frame_areas", ctypes.POINTER(ctypes.c_int64)),
        ("result_places", _Numbers),
    ]


def count_spares(exchanges: Iterable[Exchange]) -> dict[int, int]:
    """By size in bytes, how many spare blocks a worker needs to run any of the step graphs."""
    spares: dict[int, int] = {}
    for exchange in exchanges:
        for size, blocks in exchange.spares_after.items():
            spares[size] = max(spares.get(size, 0), len(blocks))
    return spares


class StepTable:
    """A step graph in the form that the C++ library reads.

    Attributes:
        pointer: points to the struct.
        updates: the states that get a newest element.
        frame_positions: which of the program's frames kernels read.
        can_step_together: whether one call of the library can step several slots. It can where
            kernels run the whole step and PyTorch no part of it.
    """

    def __init__(
        self,
        program: Program[Any],
        phase: int,
        prepared: PreparedStep,
        exchange: Exchange,
        layout: StateLayout,
        spares: dict[int, int],
    ) -> None:
        self.updates = program.phases[phase].updates
        self._layout = layout
        self._spares = sum(spares.values())
        firsts = dict(zip(spares, _sum_before(list(spares.values())), strict=True))

        def number(block: Block) -> int:
            kind, which, place = block
            return firsts[which] + place if kind == "spare" else self._spares + which

        spares_after = list(range(self._spares))
        for size, blocks in exchange.spares_after.items():
            # Spare blocks that this step graph does not need stay where they are.
            spares_after[firsts[size] : firsts[size] + len(blocks)] = map(number, blocks)
        self._targets = [number(block) for block in exchange.targets]
        plan = prepared.plan
        first_element = len(prepared.inputs) - layout.elements
        places = [plan.inputs.get(first_element + i, -1) for i in range(layout.elements)]
        newest = [prepared.find_newest(i) for i in range(len(self.updates))]
        self._numbers: list[Any] = []
        struct = _ExchangeStruct(
            len(layout.depths),
            len(self.updates),
            self._spares,
            *map(
                self._keep,
                (
                    layout.depths,
                    places,
                    self.updates,
                    [layout.firsts[state] for state in self.updates],
                    [-1 if place is None else place for place in newest],
                    self._targets,
                    spares_after,
                ),
            ),
        )
        self.frame_positions = [i for i in range(len(program.frame_shapes)) if i in plan.inputs]
        areas = [
            program.frame_shapes[i][-2] * program.frame_shapes[i][-1] if i in prepared.maps else 0
            for i in self.frame_positions
        ]
        is_laid_out = all(program.frame_shapes[i][0] == 3 for i in prepared.maps)
        self.can_step_together = prepared.is_simple and is_laid_out
        steps = plan.steps[0] if self.can_step_together else None
        operations = steps.operations if isinstance(steps, NativeSteps) else None
        self._struct = StepPlanStruct(
            None if operations is None else ctypes.addressof(operations),
            0 if not isinstance(steps, NativeSteps) else steps.count,
            struct,
            len(self.frame_positions) + len(plan.clocks),
            len(prepared.made_results),
            self._keep([*[plan.inputs[i] for i in self.frame_positions], *plan.clocks.values()]),
            self._keep([*areas, *[0] * len(plan.clocks)], ctypes.c_int64),
            self._keep([plan.made[node] for node in prepared.made_results]),
        )
        self.pointer = ctypes.byref(self._struct)

    def find_newest(self, update: int, state: NativeState, spares: Any) -> int:
        """The address of the block that a newest element is written to."""
        target = self._targets[update]
        if target < self._spares:
            return spares[target]
        updated = self.updates[target - self._spares]
        return state.find(updated, self._layout.depths[updated] - 1)

    def _keep(self, numbers: Sequence[int], kind: Any = ctypes.c_int32) -> Any:
        """Make a C array that lives as long as the table."""
        self._numbers.append((kind * max(len(numbers), 1))(*numbers))
        return ctypes.cast(self._numbers[-1], ctypes.POINTER(kind))


def _sum_before(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:i]) for i in range(len(counts))]
