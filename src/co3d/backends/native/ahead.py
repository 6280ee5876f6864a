"""Decides what kernels ask memory for before it is read or written."""

from collections.abc import Mapping, Sequence

from co3d.backends.native.operation import MOST_AHEAD, Kind, Operation

# Less is fetched quickly anyway; more would push out of the caches what was asked for first.
LEAST_BYTES, MOST_BYTES = 4096, 1_500_000
# Products in a matrix unit are through before what they ask for is there. Where a step reads and
# makes 10 MB of elements (X3D-S) asking makes it 2 % longer, with 21 MB (X3D-M) it makes no
# difference, with 64 MB (X3D-L) it pays.
LEAST_ELEMENT_BYTES = 50_000_000


def ask_ahead(
    operations: Sequence[Operation], read: Mapping[int, int], written: Mapping[int, int]
) -> None:
    """Let convolutions of maps, which compute more than they read, ask for what comes next.

        expand 1x1        depthwise sum      gate      project 1x1           expand 1x1
        asks for the ───► past frames,                 weights; ───────────► weights, new
        computes          reads them                   asks and computes     element of state

    Args:
        operations: of one list, in order; each convolution of more than one pixel asks for what
            comes after it, up to and with the next one: weights and sources, and where results go.
        read: bytes of the buffers that no operation of the step makes.
        written: bytes of those that outlive the step: they were last used steps ago.
    """
    askers = [
        i
        for i, operation in enumerate(operations)
        if operation.kind == Kind.CONVOLVE and operation.out_height * operation.out_width > 1
    ]
    ends = [*askers[1:], len(operations) - 1]
    for i, end in zip(askers, ends, strict=False):
        wanted: dict[int, int] = {}
        for operation in operations[i + 1 : end + 1]:
            count = 0 if operation.kind == Kind.MEAN else operation.source_count
            sources = (*operation.sources[:count], *operation.added[: operation.added_count])
            results = (operation.out, *operation.beside[: operation.beside_count])
            reads = [(b, read.get(b, 0)) for b in (operation.weight, *sources)]
            for buffer, size in (*reads, *[(b, written.get(b, 0)) for b in results]):
                fits = len(wanted) < MOST_AHEAD and sum(wanted.values()) + size <= MOST_BYTES
                if size >= LEAST_BYTES and fits:
                    wanted[buffer] = size
        asker = operations[i]
        asker.ahead_count = len(wanted)
        for k, (buffer, size) in enumerate(wanted.items()):
            asker.ahead[k], asker.ahead_bytes[k] = buffer, size
