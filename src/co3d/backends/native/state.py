"""The ring buffers of one slot: the addresses of its elements of state, and their order in time."""

import ctypes
import weakref
from collections.abc import Sequence, Set

import torch
from torch import Tensor

from co3d.backends.native.blocks import BlockPool, round_up
from co3d.backends.native.memory import view_as_laid_out
from co3d.compiler.temporal import StateSpec


class StateLayout:
    """The shapes and sizes of a program's states, which all slots share.

    Attributes:
        fills: initial value of each state.
        depths: elements of each state.
        sizes: bytes of the block of an element of each state.
        firsts: the index of each state's first element among the elements of all states.
        elements: how many elements a slot has.
    """

    def __init__(self, specs: Sequence[StateSpec], dtype: torch.dtype) -> None:
        self.fills = [spec.fill for spec in specs]
        self._kinds = [((1, *spec.shape), spec.dtype_in(dtype)) for spec in specs]
        self._bytes = [torch.Size(shape).numel() * kind.itemsize for shape, kind in self._kinds]
        self.depths = [spec.depth for spec in specs]
        self.sizes = [round_up(size) for size in self._bytes]
        self.firsts = [sum(self.depths[:i]) for i in range(len(specs))]
        self.elements = sum(self.depths)

    def view(self, state: int, memory: Tensor) -> Tensor:
        """View a block as an element (1, …) of a state."""
        shape, dtype = self._kinds[state]
        return view_as_laid_out(memory[: self._bytes[state]], shape, dtype)

    def fill(self, state: int, address: int, memory: Tensor) -> None:
        """Write the initial value of a state into a block."""
        if self.fills[state] == 0:
            ctypes.memset(address, 0, self._bytes[state])
        else:
            self.view(state, memory).fill_(self.fills[state])

    def find_state(self, number: int) -> tuple[int, int]:
        """The state and the age (0: newest) of the element with this index among all states'."""
        for state, depth in enumerate(self.depths):
            if number < depth:
                return state, number
            number -= depth
        raise AssertionError("a step graph has no more inputs than there are elements")


class ElementsTable(ctypes.Structure):
    """The struct `Elements` of kernels/rings.hpp."""

    _fields_ = (("blocks", ctypes.c_void_p), ("heads", ctypes.c_void_p))


class NativeState:
    """See `co3d.backends.contract.State`.

        a state of three elements   step 0   step 1   step 2      `heads` is the index of the newest
        block 0                     newest   past 1   past 2      element; the indices after it,
        block 1                     past 1   past 2   oldest      modulo 3, are older ones; the next
        block 2                     oldest   newest   past 1      newest replaces the oldest

    Attributes:
        blocks: addresses of the elements, state by state; a step replaces that of the oldest.
        heads: per state, the index of its newest element.
        table: both as a C struct; `pointer` points to it.
    """

    def __init__(self, layout: StateLayout, pool: BlockPool) -> None:
        self._layout, self._pool = layout, pool
        sizes = [
            size
            for size, depth in zip(layout.sizes, layout.depths, strict=True)
            for _ in range(depth)
        ]
        addresses, zeros = pool.take(sizes)
        self.blocks = (ctypes.c_void_p * max(layout.elements, 1))(*addresses)
        self.heads = (ctypes.c_int32 * max(len(layout.depths), 1))()
        self.table = ElementsTable(ctypes.addressof(self.blocks), ctypes.addressof(self.heads))
        self.pointer = ctypes.byref(self.table)
        self._count = layout.elements
        # A slot that is garbage-collected gives its blocks back as a closed one does.
        self._finalizer = weakref.finalize(self, _give_back, pool, self.blocks, layout.elements)
        self._finalizer.atexit = False
        # New memory is zero already. Writing it here would commit all of its pages at once; the
        # first steps commit them one by one.
        self._fill(zeros)

    def view(self, number: int) -> Tensor:
        """The element (1, …) of this index; elements are listed state by state, newest first."""
        state, age = self._layout.find_state(number)
        return self._view(state, age)

    def read(self) -> list[list[Tensor]]:
        """See `State.read`."""
        return [
            [self._view(state, age)[0].clone() for age in range(depth)]
            for state, depth in enumerate(self._layout.depths)
        ]

    def write(self, elements: Sequence[Sequence[Tensor]]) -> None:
        """See `State.write`."""
        for state, past in enumerate(elements):
            for age, element in enumerate(past):
                self._view(state, age)[0].copy_(element)

    def reset(self) -> None:
        """See `State.reset`."""
        self._fill(set())

    def close(self) -> None:
        """See `State.close`."""
        self._finalizer()

    def _fill(self, zeros: Set[int]) -> None:
        """Write the initial values, except zeros to blocks that are zero already."""
        for state, depth in enumerate(self._layout.depths):
            for age in range(depth):
                address = self.find(state, age)
                if address not in zeros or self._layout.fills[state] != 0:
                    self._layout.fill(state, address, self._pool.find(address))

    def find(self, state: int, age: int) -> int:
        """The address of an element of a state; age 0 is the newest."""
        depth = self._layout.depths[state]
        place = self._layout.firsts[state] + (self.heads[state] + age) % depth
        address = self.blocks[place]
        assert address is not None
        return address

    def _view(self, state: int, age: int) -> Tensor:
        return self._layout.view(state, self._pool.find(self.find(state, age)))


def _give_back(pool: BlockPool, blocks: "ctypes.Array[ctypes.c_void_p]", count: int) -> None:
    pool.give_back(address for address in list(blocks)[:count])  # type: ignore[misc]
