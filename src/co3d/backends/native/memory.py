"""How values lie in memory, and where: what lasts in large pages, what passes in used places."""

import contextlib
import mmap
import threading
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

ALIGNMENT = 64
# Taken from the system at a time. What is not used of it stays with the system.
PIECE_BYTES = 1 << 26
LARGE_PAGE_BYTES = 1 << 21


def lay_out(value: Tensor) -> Tensor:
    """As the kernels read it: maps with channels last, others row by row."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def view_as_laid_out(memory: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The value that lies in some memory, (bytes,) uint8, as `lay_out` would lay it."""
    flat = memory.view(dtype)
    if len(shape) != 4:
        return flat.view(*shape)
    n, c, h, w = shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)


class Reserve:
    """Memory for what lasts as long as a compiled program, in large pages where Linux has them.

    Each step passes through all weights and all state. In pages of 4 kB the processor looks
    addresses up so often that a step of X3D-M takes a tenth longer, and another time in every
    process, as its pages happen to lie.
    """

    def __init__(self) -> None:
        self._piece = torch.empty(0, dtype=torch.uint8)
        self._used = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> Tensor:
        """(size,) uint8, all zero; the system gives the memory when it is first written to."""
        with self._lock:
            if self._used + size > self._piece.numel():
                self._piece, self._used = _map_large_pages(max(size, PIECE_BYTES)), 0
            begin = self._used
            self._used += -(-size // ALIGNMENT) * ALIGNMENT
            return self._piece[begin : begin + size]

    def take_value(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of zeros, as `lay_out` would lay it."""
        size = torch.Size(shape).numel() * dtype.itemsize
        return view_as_laid_out(self.take(size), shape, dtype)


def _map_large_pages(size: int) -> Tensor:
    """(size,) uint8, all zero, that begins with a large page."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(size, dtype=torch.uint8)
    mapped = mmap.mmap(-1, size + LARGE_PAGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Linux may have been built without them; memory is as good then, and slower.
    with contextlib.suppress(OSError):
        mapped.madvise(mmap.MADV_HUGEPAGE)
    memory = torch.frombuffer(mapped, dtype=torch.uint8)
    begin = -memory.data_ptr() % LARGE_PAGE_BYTES
    return memory[begin : begin + size]


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
