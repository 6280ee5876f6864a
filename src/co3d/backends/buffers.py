"""Buffers that runtimes write their results to, used again when nobody reads them any more."""

import torch
from torch import Tensor

from co3d.backends.executor import make_map

_Key = tuple[tuple[int, ...], torch.dtype]


class BufferPool:
    """Hands out host tensors by shape, dtype and layout.

    A step makes one new element per state and drops the oldest. Without reuse each step would ask
    the system for megabytes of fresh memory, and pay for every page of it.
    """

    def __init__(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self._free: dict[_Key, list[Tensor]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor with arbitrary content."""
        free = self._free.get((shape, dtype))
        return free.pop() if free else make_map(shape, dtype, torch.device("cpu"), self._layout)

    def give(self, tensor: Tensor) -> None:
        """Take a tensor back that nobody reads any more; those of another layout are let go."""
        if tensor.dim() == 4 and not tensor.is_contiguous(memory_format=self._layout):
            return
        self._free.setdefault((tuple(tensor.shape), tensor.dtype), []).append(tensor)
