"""Blocks of memory for elements of state, which slots and workers exchange."""

import itertools
import threading
from collections.abc import Iterable

from torch import Tensor

from co3d.backends.native.memory import ALIGNMENT, Reserve


def round_up(size: int) -> int:
    """Bytes of the block that so many bytes lie in: blocks of one size are interchangeable."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


class BlockPool:
    """Blocks by size. Those that are given back serve again; all go with the compiled program.

    A step writes the newest element of a state into some free block and frees the block of the
    oldest one. So a block belongs to one slot now and to another one later, and a slot holds no
    more than its elements.
    """

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        # A slot that nobody holds gives its blocks back whenever Python notices, even in here.
        self._lock = threading.RLock()
        self._free: dict[int, list[int]] = {}
        self._memory: dict[int, Tensor] = {}  # by address

    def take(self, sizes: Iterable[int]) -> tuple[list[int], set[int]]:
        """Addresses of blocks of these sizes, from `round_up`, and which of them are all zero.

        The others have arbitrary content.
        """
        with self._lock:
            known = len(self._memory)
            addresses = [self._take(size) for size in sizes]
            return addresses, set(itertools.islice(self._memory, known, None))

    def give_back(self, addresses: Iterable[int]) -> None:
        """Let blocks be taken again."""
        with self._lock:
            for address in addresses:
                size = self._memory[address].numel()
                self._free.setdefault(size, []).append(address)

    def find(self, address: int) -> Tensor:
        """The memory of a block, (bytes,) uint8."""
        return self._memory[address]

    def _take(self, size: int) -> int:
        free = self._free.get(size)
        if free:
            return free.pop()
        memory = self._reserve.take(size)
        self._memory[memory.data_ptr()] = memory
        return memory.data_ptr()
