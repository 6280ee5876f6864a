"""Decides what kernels ask memory for before it is read."""

from collections.abc import Mapping, Sequence

from co3d.backends.native.operation import MOST_AHEAD, Kind, Operation

# Less is fetched quickly anyway; more would push out of the caches what was asked for first.
LEAST_BYTES, MOST_BYTES = 4096, 3_000_000


def ask_ahead(operations: Sequence[Operation], sizes: Mapping[int, int]) -> None:
    """Let convolutions of maps, which compute more than they read, ask for what comes next.

        expand 1x1        depthwise sum      gate      project 1x1
        asks for the ───► past frames,                 weights
        computes          reads them                   reads them

    Args:
        operations: of one list, in order; each convolution of more than one pixel asks for the
            weights and sources that are read after it, up to and with the next one.
        sizes: bytes of the buffers that no operation of the step makes.
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
            for buffer in (operation.weight, *operation.sources[:count]):
                size = sizes.get(buffer, 0)
                fits = len(wanted) < MOST_AHEAD and sum(wanted.values()) + size <= MOST_BYTES
                if size >= LEAST_BYTES and fits:
                    wanted[buffer] = size
        asker = operations[i]
        asker.ahead_count = len(wanted)
        for k, (buffer, size) in enumerate(wanted.items()):
            asker.ahead[k], asker.ahead_bytes[k] = buffer, size
