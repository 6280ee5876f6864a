"""The inputs of a step of so many slots, where kernels and captured graphs read them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from co3d.backends.contract import Executor, make_map
from co3d.backends.triton_gpu.pools import SPARE, Pools

# The age of a stream, and the end of its video.
MOST_CLOCKS = 2


class Batch:
    """Frames, clocks and places of state of `size` slots; all steps of so many slots share them.

    Attributes:
        size: slots.
        frames: per input (size, C, H, W), in the precision and layout of the executor.
        heads: (1 + kinds, size) int64: the slots, then how many elements their rings have taken.
        clocks: (2, size) int64: the ages of the streams and the ends of their videos.
        rows: (lines, size) int64: the rows of pools in which elements lie; made of `heads`.
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
        kinds = pools.taken.shape[0]
        # One tensor, so that one copy brings all numbers.
        self._numbers = torch.zeros(
            (1 + kinds + MOST_CLOCKS, size), dtype=torch.int64, device=device
        )
        self.heads, self.clocks = self._numbers[: 1 + kinds], self._numbers[1 + kinds :]
        # All lines begin at multiples of 16 bytes, for which kernels are compiled.
        wide = torch.zeros((len(pools.lines), max(size, 2)), dtype=torch.int64, device=device)
        self.rows = wide[:, :size]

    def load(
        self,
        slots: Sequence[int],
        pools: Pools,
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> None:
        """Copy the inputs of up to `size` slots; the spare slot stands for those that are missing.

        Args:
            frames: per input (len(slots), C, H, W), floating, on any device.
            clocks: up to two of (len(slots),) int64 on the CPU.
        """
        count = len(slots)
        numbers = np.full(tuple(self._numbers.shape), SPARE, np.int64)
        numbers[0, :count] = slots
        first_clock = len(self.heads)
        numbers[1:first_clock, :count] = pools.taken[:, slots]
        for line, clock in enumerate(clocks, first_clock):
            numbers[line, :count] = clock.numpy()
        # Nobody writes to them again, so the device may fetch them when it comes to it.
        self._numbers.copy_(torch.from_numpy(numbers), non_blocking=True)
        for to, given in zip(self.frames, frames, strict=True):
            to[:count].copy_(given)

    def clear(self) -> None:
        """Let all slots be the spare one, whose rows come first in every pool."""
        self._numbers.zero_()
        self.rows.zero_()
