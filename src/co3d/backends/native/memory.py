"""The memory layout of values (NHWC), and where they are allocated.

Weights and state live as long as the compiled program, in huge pages. Intermediate results live for
part of a step and share one workspace.
"""

import contextlib
import mmap
import threading
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

ALIGNMENT = 64
# Address space that is reserved at a time. The system commits a page when it is first written.
PIECE_BYTES = 1 << 26
HUGE_PAGE_BYTES = 1 << 21


def lay_out(value: Tensor) -> Tensor:
    """The value in the kernels' layout: NHWC for maps (4 axes), contiguous otherwise."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def view_as_laid_out(memory: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """View raw memory, (bytes,) uint8, as a value in the layout of `lay_out`."""
    flat = memory.view(dtype)
    if len(shape) != 4:
        return flat.view(*shape)
    n, c, h, w = shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)


class HugePageAllocator:
    """Allocates memory for as long as a compiled program lives, in huge pages where Linux has them.

    Each step reads all weights and all state. With 4 kB pages the processor misses its TLB so often
    that a step of X3D-M takes 10 % longer, and its time varies between processes with the physical
    addresses of the pages.
    """

    def __init__(self) -> None:
        self._piece = torch.empty(0, dtype=torch.uint8)
        self._used = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> Tensor:
        """Allocate (size,) uint8, all zero; the system commits a page when it is first written."""
        with self._lock:
            if self._used + size > self._piece.numel():
                self._piece, self._used = _map_huge_pages(max(size, PIECE_BYTES)), 0
            begin = self._used
            self._used += -(-size // ALIGNMENT) * ALIGNMENT
            return self._piece[begin : begin + size]

    def take_value(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Allocate a tensor of zeros in the layout of `lay_out`."""
        size = torch.Size(shape).numel() * dtype.itemsize
        return view_as_laid_out(self.take(size), shape, dtype)


def _map_huge_pages(size: int) -> Tensor:
    """Map (size,) uint8, all zero, which begins at the start of a huge page."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(size, dtype=torch.uint8)
    mapped = mmap.mmap(-1, size + HUGE_PAGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # A kernel built without huge pages refuses; the memory then works, but is slower.
    with contextlib.suppress(OSError):
        mapped.madvise(mmap.MADV_HUGEPAGE)
    memory = torch.frombuffer(mapped, dtype=torch.uint8)
    begin = -memory.data_ptr() % HUGE_PAGE_BYTES
    return memory[begin : begin + size]


class Arena:
    """Places blocks in one workspace, each in the smallest free gap that fits (best fit).

    Attributes:
        size: bytes that the workspace needs.
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
        """Free the owner's blocks, and merge them with free neighbours."""
        blocks = sorted([*self._free, *self._taken.pop(owner, ())])
        self._free = []
        for offset, size in blocks:
            if self._free and sum(self._free[-1]) == offset:
                self._free[-1] = (self._free[-1][0], self._free[-1][1] + size)
            else:
                self._free.append((offset, size))
