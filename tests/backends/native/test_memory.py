"""Memory that lives as long as a compiled program."""

import mmap
import re
from pathlib import Path

import pytest
import torch

from co3d.backends.native.memory import ALIGNMENT, PIECE_BYTES, HugePageAllocator, lay_out

SIZES = [1, 63, 64, 65, 5000, PIECE_BYTES // 2, PIECE_BYTES // 2, PIECE_BYTES + 1, 7]


def test_nothing_overlaps() -> None:
    allocator = HugePageAllocator()
    taken = [allocator.take(size) for size in SIZES]
    for i, memory in enumerate(taken):
        memory.fill_(i)
    for i, (memory, size) in enumerate(zip(taken, SIZES, strict=True)):
        assert memory.shape == (size,)
        assert memory.data_ptr() % ALIGNMENT == 0
        assert (memory == i).all()


def test_memory_outlives_its_allocator() -> None:
    memory = HugePageAllocator().take(3)
    assert memory.fill_(7).tolist() == [7, 7, 7]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 1, 1), (2, 3), (4,)])
def test_values_are_laid_out_as_kernels_read_them(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    given = torch.randint(0, 2, shape).to(dtype)
    value = HugePageAllocator().take_value(shape, dtype).copy_(given)
    assert torch.equal(value, given)
    laid = lay_out(value)
    assert laid.data_ptr() == value.data_ptr()  # nothing had to be copied


@pytest.mark.skipif(
    not (hasattr(mmap, "MADV_HUGEPAGE") and Path("/proc/self/smaps").exists()),
    reason="large pages are asked for on Linux",
)
def test_huge_pages_are_requested() -> None:
    memory = HugePageAllocator().take(100)
    areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
    for area in areas[1:]:
        begin, end = (int(number, 16) for number in area.split(maxsplit=1)[0].split("-"))
        if begin <= memory.data_ptr() < end:
            assert " hg" in area[area.index("VmFlags:") :]
            return
    raise AssertionError
