"""Rows of pools: in which of them the elements of slots lie, and where in memory a row begins."""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def find_starts(rows, images, fits, ELEMENTS):
    """Where the maps of a batch begin, in elements from the first one.

    Args:
        rows: (N,) int64, the row of a pool in which each map lies; None for maps side by side.
        images: numbers of maps in the batch.
        fits: which of those numbers are below N; None where all are.
        ELEMENTS: of one map.
    """
    starts = images
    if rows is not None:
        starts = tl.load(rows + images, mask=fits, other=0 if fits is not None else None)
    return starts * ELEMENTS


@triton.jit
def find_rows(heads, lines, rows, size, stride, COLUMNS: tl.constexpr):
    """The rows of pools in which the elements of a batch of slots lie; a program per line.

    A ring of `length` rows belongs to each slot. Its next element is the one of age 0.

    Args:
        heads: (1 + kinds, size) int64: the slots, then per kind of state how many elements the
            rings of each slot have taken.
        lines: (lines, 3) int64: the kind, the length of the ring, the age of the element.
        rows: (lines, stride) int64, of which the first `size` columns are written.
        size: slots of the batch.
        COLUMNS: a power of two that is no less.
    """
    line = tl.program_id(0)
    kind = tl.load(lines + line * 3)
    length = tl.load(lines + line * 3 + 1)
    age = tl.load(lines + line * 3 + 2)
    items = tl.arange(0, COLUMNS)
    fits = items < size
    slots = tl.load(heads + items, mask=fits, other=0)
    taken = tl.load(heads + (kind + 1) * size + items, mask=fits, other=0)
    places = slots * length + (taken + length - age) % length
    tl.store(rows + line * stride + items, places, mask=fits)
