"""Buffers that runtimes write their results to, used again when nobody reads them any more."""

from collections import deque
from collections.abc import Callable

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
        self._free: dict[_Key, deque[Tensor]] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor with arbitrary content: the one given back first, as `Bindings` wants."""
        free = self._free.get((shape, dtype))
        return free.popleft() if free else make_map(shape, dtype, torch.device("cpu"), self._layout)

    def give(self, tensor: Tensor) -> None:
        """Take a tensor back that nobody reads any more; those of another layout are let go."""
        if tensor.dim() == 4 and not tensor.is_contiguous(memory_format=self._layout):
            return
        self._free.setdefault((tuple(tensor.shape), tensor.dtype), deque()).append(tensor)


class Bindings:
    """Which buffer is bound to each place of a runtime's request; binds what changed, and no more.

    The buffers of a state of two elements go round, and every third step meets the same ones:

        step          0      1      2      3
        past 1, 2     A, B   C, A   B, C   A, B
        newest        C      B      A      C

    Those of one element meet at every second step. With `CYCLE` requests in turn, of a step's
    hundred and more places those of such states are bound already.
    """

    CYCLE = 6

    def __init__(self, places: int) -> None:
        self._bound: list[Tensor | None] = [None] * places

    def update(self, place: int, tensor: Tensor, bind: Callable[[int, Tensor], None]) -> None:
        """Call `bind(place, tensor)` unless that tensor is there."""
        if self._bound[place] is not tensor:
            bind(place, tensor)
            self._bound[place] = tensor
