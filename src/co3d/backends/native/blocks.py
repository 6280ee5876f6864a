"""A free-list pool of memory blocks for elements of state, which slots and workers exchange."""

import itertools
import threading
from collections.abc import Iterable

from torch import Tensor

from co3d.backends.native.memory import ALIGNMENT, HugePageAllocator


def round_up(size: int) -> int:
    """Round bytes up to the size of their block: blocks of equal size are interchangeable."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


class BlockPool:
    """Reuses blocks by size; their memory is freed with the compiled program.

    A step writes the newest element of a state into a free block and frees the block of the oldest
    element. A block therefore moves from slot to slot, and a slot holds no more blocks than it has
    elements.
    """

    def __init__(self, allocator: HugePageAllocator) -> None:
        self._allocator = allocator
        # Reentrant, because garbage collection may finalise a slot, and so call `give_back`, while
        # this thread holds the lock.
        self._lock = threading.RLock()
        self._free: dict[int, list[int]] = {}
        self._memory: dict[int, Tensor] = {}  # by address

    def take(self, sizes: Iterable[int]) -> tuple[list[int], set[int]]:
        """Take blocks of these sizes, which `round_up` made.

        Returns:
            Their addresses, and which of those are new and so all zero; the others have arbitrary
            content.
        """
        with self._lock:
            known = len(self._memory)
            addresses = [self._take(size) for size in sizes]
            return addresses, set(itertools.islice(self._memory, known, None))

    def give_back(self, addresses: Iterable[int]) -> None:
        """Return blocks to the pool."""
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
        memory = self._allocator.take(size)
        self._memory[memory.data_ptr()] = memory
        return memory.data_ptr()
