"""Kernels that compute the pool rows of slots' elements, and where those rows begin."""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def find_starts(rows, images, fits, ELEMENTS):
    """The offsets, in elements, at which the maps of a batch begin.

    Args:
        rows: (N,) int64, the pool row of each map; None for contiguous maps.
        images: indices of maps in the batch.
        fits: which of those indices are below N; None where all are.
        ELEMENTS: elements of one map.
    """
    starts = images
    if rows is not None:
        starts = tl.load(rows + images, mask=fits, other=0 if fits is not None else None)
    return starts * ELEMENTS


@triton.jit
def find_rows(heads, lines, rows, size, stride, COLUMNS: tl.constexpr):
    """Compute the pool rows of the elements of a batch of slots; one program per line.

    Each slot has a ring of `length` rows. Age 0 is the next element to write, 1 the newest stored.

    Args:
        heads: (1 + kinds, size) int64: the slots' numbers, then per kind of ring how many elements
            have been pushed to it.
        lines: (lines, 3) int64: the kind and length of the ring, and the age of the element.
        rows: (lines, stride) int64, whose first `size` columns are written.
        size: slots of the batch.
        COLUMNS: a power of two, at least `size`.
    """
    line = tl.program_id(0)
    kind = tl.load(lines + line * 3)
    length = tl.load(lines + line * 3 + 1)
    age = tl.load(lines + line * 3 + 2)
    items = tl.arange(0, COLUMNS)
    fits = items < size
    slots = tl.load(heads + items, mask=fits, other=0)
    pushed = tl.load(heads + (kind + 1) * size + items, mask=fits, other=0)
    places = slots * length + (pushed + length - age) % length
    tl.store(rows + line * stride + items, places, mask=fits)
