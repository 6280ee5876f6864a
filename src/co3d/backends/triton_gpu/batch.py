"""The static input buffers of a step, one set per batch size, which captured CUDA graphs read."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from co3d.backends.contract import Executor, make_map
from co3d.backends.triton_gpu.pools import SPARE, Pools

# The age of a stream, and the end of its video.
MOST_CLOCKS = 2


class Batch:
    """The inputs of a step of `size` slots; all step graphs share them.

    Attributes:
        size: slots.
        frames: per input (size, C, H, W), in the precision and layout of the executor.
        heads: (1 + kinds, size) int64: the slots' numbers, then per kind of ring how many elements
            have been pushed to it.
        clocks: (2, size) int64: the ages of the streams and the ends of their videos.
        rows: (lines, size) int64: the pool rows of the elements, which a kernel computes from
            `heads`.
    """

    def __init__(
        self, size: int, frame_shapes: Sequence[Sequence[int]], pools: Pools, executor: Executor
    ) -> None:
        device = executor.device
        self.size = size
        self.frames = [
            make_map((size, *shape), executor.dtype, device, executor.map_layout).zero_()
            for shape in frame_shapes
        ]
        kinds = pools.pushed.shape[0]
        # One tensor, so that one copy transfers all numbers.
        self._numbers = torch.zeros(
            (1 + kinds + MOST_CLOCKS, size), dtype=torch.int64, device=device
        )
        self.heads, self.clocks = self._numbers[: 1 + kinds], self._numbers[1 + kinds :]
        # At least 2 columns, so that lines begin at multiples of 16 bytes, as kernels assume.
        wide = torch.zeros((len(pools.lines), max(size, 2)), dtype=torch.int64, device=device)
        self.rows = wide[:, :size]

    def load(
        self,
        slots: Sequence[int],
        pools: Pools,
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> None:
        """Copy the inputs of up to `size` slots, and pad the batch with the spare slot.

        Args:
            frames: per input (len(slots), C, H, W), floating, on any device.
            clocks: up to two of (len(slots),) int64 on the CPU.
        """
        count = len(slots)
        numbers = np.full(tuple(self._numbers.shape), SPARE, np.int64)
        numbers[0, :count] = slots
        first_clock = len(self.heads)
        numbers[1:first_clock, :count] = pools.pushed[:, slots]
        for line, clock in enumerate(clocks, first_clock):
            numbers[line, :count] = clock.numpy()
        # The host array is not written again, so the copy may be asynchronous.
        self._numbers.copy_(torch.from_numpy(numbers), non_blocking=True)
        for to, given in zip(self.frames, frames, strict=True):
            to[:count].copy_(given)

    def clear(self) -> None:
        """Fill the batch with the spare slot, whose rows are the first of every pool."""
        self._numbers.zero_()
        self.rows.zero_()
