"""Pools: the elements of state of all slots of a program, one tensor per state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.backends.contract import Executor, make_map
from co3d.backends.triton_gpu.operand import Operand
from co3d.compiler.program import Program

# The slot that no stream owns: a step of fewer slots than its graph takes names it for the others.
SPARE = 0


@dataclass(frozen=True)
class Ring:
    """How the elements of a state lie in its pool.

        a state of two elements     step 0      step 1      step 2
        row 0 of a slot's three     newest      past 1      past 2
        row 1                       past 2      newest      past 1
        row 2                       past 1      past 2      newest

    Attributes:
        kind: the states that the same phases update are of one kind; their rings take elements at
            the same steps.
        length: rows per slot: one more than there are elements, because the newest one must not
            take the place of one that the same step reads.
        line: the line of the table of rows for the newest element; the past ones follow, newest
            first.
    """

    kind: int
    length: int
    line: int

    def find_row(self, slot: int, taken: int, age: int) -> int:
        """The row of an element of a slot; age 0 is the next one, 1 the newest that there is."""
        return slot * self.length + (taken - age) % self.length


class Pools:
    """The elements of state of all slots, in rows that kernels find by the number of a slot.

    Nothing here is locked. Growing moves every pool, so steps captured before it are void.

    Attributes:
        rings: per state.
        lines: (lines, 3) int64 on the device, the lines of the table of rows: kind, length of the
            ring, age of the element. See `row_kernels.find_rows`.
        taken: (kinds, slots) int64: how many elements the rings of each slot have taken.
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
        self.taken = np.zeros((len(kinds), 2), np.int64)
        self._free = [1]
        self._pools = [self._make(state, 2) for state in range(len(self._specs))]
        self.fill(SPARE)

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another slot."""
        return not self._free

    def grow(self) -> None:
        """Make room for as many slots again."""
        slots = self.taken.shape[1]
        grown = 2 * slots - 1  # one slot is spare
        for state, pool in enumerate(self._pools):
            self._pools[state] = self._make(state, grown)
            self._pools[state][: len(pool)].copy_(pool)
        self.taken = np.pad(self.taken, ((0, 0), (0, grown - slots)))
        self._free.extend(range(grown - 1, slots - 1, -1))

    def take_slot(self) -> int:
        """A slot that nobody else has, with arbitrary elements."""
        return self._free.pop()

    def give_slot(self, slot: int) -> None:
        """Let somebody else take a slot."""
        self._free.append(slot)

    def fill(self, slot: int) -> None:
        """Give the elements of a slot their initial values."""
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
        """The past elements of a batch of slots: of all states, newest first.

        Args:
            rows: (lines, N) int64: the table of rows of the batch.
        """
        return [
            Operand(pool, rows[ring.line + age])
            for pool, ring in zip(self._pools, self.rings, strict=True)
            for age in range(1, ring.length)
        ]

    def list_newest(self, rows: Tensor, updates: Sequence[int]) -> list[Operand]:
        """Where a batch of slots keeps its next elements of these states."""
        return [Operand(self._pools[i], rows[self.rings[i].line]) for i in updates]

    def advance(self, slots: Sequence[int], updates: Sequence[int]) -> None:
        """Let the next elements of these states be their newest ones."""
        for kind in {self.rings[i].kind for i in updates}:
            self.taken[kind, slots] += 1

    def _list_elements(self, state: int, slot: int) -> list[Tensor]:
        """The elements of a slot where they lie, newest first."""
        ring = self.rings[state]
        taken = int(self.taken[ring.kind, slot])
        rows = [ring.find_row(slot, taken, age) for age in range(1, ring.length)]
        return [self._pools[state][row] for row in rows]

    def _get_ring(self, state: int, slot: int) -> Tensor:
        length = self.rings[state].length
        return self._pools[state][slot * length : (slot + 1) * length]

    def _make(self, state: int, slots: int) -> Tensor:
        spec, executor = self._specs[state], self._executor
        shape = (slots * self.rings[state].length, *spec.shape)
        dtype = spec.dtype_in(executor.dtype)
        return make_map(shape, dtype, executor.device, executor.map_layout)
