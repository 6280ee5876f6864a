"""Pools: per state of a program, one tensor with the elements of all slots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.backends.contract import Executor, make_map
from co3d.backends.triton_gpu.operand import Operand
from co3d.compiler.program import Program

# A slot of no stream, with which a batch is padded to the size that its CUDA graph was captured
# for.
SPARE = 0


@dataclass(frozen=True)
class Ring:
    """The rows of a pool in which a slot keeps the elements of one state.

        a state of two elements     step 0      step 1      step 2
        row 0 of a slot's three     newest      past 1      past 2
        row 1                       past 2      newest      past 1
        row 2                       past 1      past 2      newest

    Attributes:
        kind: a number that is equal for states that are updated in the same phases, so that their
            rings advance at the same steps.
        length: rows per slot: one more than elements, because the newest element must not overwrite
            one that the same step reads.
        line: the line of the row table for the newest element; the next lines are for the past
            elements, newest first.
    """

    kind: int
    length: int
    line: int

    def find_row(self, slot: int, pushed: int, age: int) -> int:
        """The row of a slot's element; age 0 is the next one to write, 1 the newest one stored."""
        return slot * self.length + (pushed - age) % self.length


class Pools:
    """The elements of state of all slots, in rows that kernels find by the slot's number.

    Not thread-safe. Growing reallocates every pool, which invalidates captured steps.

    Attributes:
        rings: one per state.
        lines: (lines, 3) int64 on the device: per line of the row table, the kind and length of the
            ring and the age of the element. See `row_kernels.find_rows`.
        pushed: (kinds, slots) int64: how many elements have been pushed to each slot's rings.
    """

    def __init__(self, program: Program[Any], executor: Executor) -> None:
        self._specs, self._executor = program.states, executor
        updates = [set(phase.updates) for phase in program.phases]
        kinds: dict[tuple[bool, ...], int] = {}
        first_lines: dict[tuple[int, int], int] = {}
        table: list[tuple[int, int, int]] = []
        self.rings: list[Ring] = []
        for state, spec in enumerate(self._specs):
            phases = tuple(state in updated for updated in updates)
            kind, length = kinds.setdefault(phases, len(kinds)), spec.depth + 1
            if (kind, length) not in first_lines:
                first_lines[kind, length] = len(table)
                table += [(kind, length, age) for age in range(length)]
            self.rings.append(Ring(kind, length, first_lines[kind, length]))
        numbers = torch.tensor(table, dtype=torch.int64).view(len(table), 3)
        self.lines = numbers.to(executor.device)
        self.pushed = np.zeros((len(kinds), 2), np.int64)
        self._free = [1]
        self._pools = [self._make(state, 2) for state in range(len(self._specs))]
        self.fill(SPARE)

    @property
    def is_full(self) -> bool:
        """Whether every slot is pushed."""
        return not self._free

    def grow(self) -> None:
        """Double the number of slots."""
        slots = self.pushed.shape[1]
        grown = 2 * slots - 1  # one slot is spare
        for state, pool in enumerate(self._pools):
            self._pools[state] = self._make(state, grown)
            self._pools[state][: len(pool)].copy_(pool)
        self.pushed = np.pad(self.pushed, ((0, 0), (0, grown - slots)))
        self._free.extend(range(grown - 1, slots - 1, -1))

    def take_slot(self) -> int:
        """Take a free slot, whose elements are arbitrary."""
        return self._free.pop()

    def give_slot(self, slot: int) -> None:
        """Make a slot free again."""
        self._free.append(slot)

    def fill(self, slot: int) -> None:
        """Fill a slot's elements with their initial values."""
        for state, spec in enumerate(self._specs):
            self._get_ring(state, slot).fill_(spec.fill)

    def read(self, slot: int) -> list[list[Tensor]]:
        """Copies of a slot's elements, per state, newest first."""
        return [
            list(torch.stack(self._list_elements(state, slot)).unbind(0))
            for state in range(len(self._specs))
        ]

    def write(self, slot: int, elements: Sequence[Sequence[Tensor]]) -> None:
        """Copy elements over those of a slot, in the order of `read`."""
        for state, given in enumerate(elements):
            for to, element in zip(self._list_elements(state, slot), given, strict=True):
                to.copy_(element)

    def list_past(self, rows: Tensor) -> list[Operand]:
        """The past elements of a batch of slots: state by state, newest first.

        Args:
            rows: (lines, N) int64: the row table of the batch.
        """
        return [
            Operand(pool, rows[ring.line + age])
            for pool, ring in zip(self._pools, self.rings, strict=True)
            for age in range(1, ring.length)
        ]

    def list_newest(self, rows: Tensor, updates: Sequence[int]) -> list[Operand]:
        """Where a step writes the newest elements of these states, for a batch of slots."""
        return [Operand(self._pools[i], rows[self.rings[i].line]) for i in updates]

    def advance(self, slots: Sequence[int], updates: Sequence[int]) -> None:
        """Advance the rings of these states, after a step has written their newest elements."""
        for kind in {self.rings[i].kind for i in updates}:
            self.pushed[kind, slots] += 1

    def _list_elements(self, state: int, slot: int) -> list[Tensor]:
        """Views of a slot's elements, newest first."""
        ring = self.rings[state]
        pushed = int(self.pushed[ring.kind, slot])
        rows = [ring.find_row(slot, pushed, age) for age in range(1, ring.length)]
        return [self._pools[state][row] for row in rows]

    def _get_ring(self, state: int, slot: int) -> Tensor:
        length = self.rings[state].length
        return self._pools[state][slot * length : (slot + 1) * length]

    def _make(self, state: int, slots: int) -> Tensor:
        spec, executor = self._specs[state], self._executor
        shape = (slots * self.rings[state].length, *spec.shape)
        dtype = spec.dtype_in(executor.dtype)
        return make_map(shape, dtype, executor.device, executor.map_layout)
