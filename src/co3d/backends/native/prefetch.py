"""Chooses what each convolution prefetches for the operations that follow it."""

from collections.abc import Mapping, Sequence

from co3d.backends.native.operation import MOST_PREFETCHES, Kind, Operation

# Smaller buffers are loaded quickly anyway; prefetching more than MOST_BYTES at a time would evict
# from L2 what was prefetched first.
LEAST_BYTES, MOST_BYTES = 4096, 1_500_000
# With AMX a convolution ends before the memory that it prefetches has arrived. Prefetching then
# pays only where a step reads and writes much state: with 10 MB (X3D-S) the step takes 2 % longer,
# with 21 MB (X3D-M) equally long, with 64 MB (X3D-L) less long.
LEAST_ELEMENT_BYTES = 50_000_000


def plan_prefetches(
    operations: Sequence[Operation], read: Mapping[int, int], written: Mapping[int, int]
) -> None:
    """Let convolutions of maps prefetch for the next operations, since they are compute-bound.

        expand 1x1        depthwise sum      gate      project 1x1           expand 1x1
        prefetches   ───► past frames                  prefetches ─────────► weights, new
                                                                             element of state

    Args:
        operations: the operations in order. Each convolution of more than one pixel prefetches the
            weights, inputs and result buffers of the operations after it, up to and including the
            next such convolution.
        read: bytes of each buffer that the step reads and does not write.
        written: bytes of each result buffer that outlives the step. It was last used several steps
            ago and is therefore in no cache.
    """
    convolutions = [
        i
        for i, operation in enumerate(operations)
        if operation.kind == Kind.CONVOLVE and operation.out_height * operation.out_width > 1
    ]
    ends = [*convolutions[1:], len(operations) - 1]
    for i, end in zip(convolutions, ends, strict=False):
        wanted: dict[int, int] = {}
        for operation in operations[i + 1 : end + 1]:
            count = 0 if operation.kind == Kind.MEAN else operation.source_count
            sources = (*operation.sources[:count], *operation.added[: operation.added_count])
            results = (operation.out, *operation.additional[: operation.additional_count])
            reads = [(b, read.get(b, 0)) for b in (operation.weight, *sources)]
            for buffer, size in (*reads, *[(b, written.get(b, 0)) for b in results]):
                fits = len(wanted) < MOST_PREFETCHES and sum(wanted.values()) + size <= MOST_BYTES
                if size >= LEAST_BYTES and fits:
                    wanted[buffer] = size
        convolution = operations[i]
        convolution.prefetch_count = len(wanted)
        for k, (buffer, size) in enumerate(wanted.items()):
            convolution.prefetch[k], convolution.prefetch_bytes[k] = buffer, size
