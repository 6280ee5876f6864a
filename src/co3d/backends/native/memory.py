"""How values lie in memory, and where: it is used again when nobody reads it any more."""

from collections.abc import Hashable

import torch
from torch import Tensor

ALIGNMENT = 64


def lay_out(value: Tensor) -> Tensor:
    """As the kernels read it: maps with channels last, others row by row."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


class Arena:
    """Places blocks in one piece of memory, the smallest gap first.

    Attributes:
        size: bytes of that piece.
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []  # (offset, bytes)
        self._taken: dict[Hashable, list[tuple[int, int]]] = {}

    def take(self, owner: Hashable, size: int) -> int:
        """The offset of a new block, which belongs to `owner` until it is released."""
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        fitting = [block for block in self._free if block[1] >= size]
        if fitting:
            offset, room = min(fitting, key=lambda block: block[1])
            self._free.remove((offset, room))
            if room > size:
                self._free.append((offset + size, room - size))
        else:
            offset = self.size
            self.size += size
        self._taken.setdefault(owner, []).append((offset, size))
        return offset

    def release(self, owner: Hashable) -> None:
        """Let the owner's blocks be used again, joined with free neighbours."""
        blocks = sorted([*self._free, *self._taken.pop(owner, ())])
        self._free = []
        for offset, size in blocks:
            if self._free and sum(self._free[-1]) == offset:
                self._free[-1] = (self._free[-1][0], self._free[-1][1] + size)
            else:
                self._free.append((offset, size))
