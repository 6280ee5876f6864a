"""Pools of the buffers that inference runtimes write elements of state to."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from co3d.backends.contract import make_map

_FREE_LIST = "_co3d_free_list"


def _no_list() -> None:
    """Stands for the reference to a free list, for tensors that have none."""


class FreeList:
    """Free CPU tensors of one shape, dtype and layout."""

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
    ) -> None:
        self._shape, self._dtype, self._layout = shape, dtype, layout
        self._free: deque[Tensor] = deque()

    def take(self) -> Tensor:
        """Take a tensor with arbitrary content, first in, first out, as `Bindings` needs it."""
        if self._free:
            return self._free.popleft()
        made = make_map(self._shape, self._dtype, torch.device("cpu"), self._layout)
        # An attribute is faster to read than a dictionary by shape.
        setattr(made, _FREE_LIST, weakref.ref(self))
        return made

    def give_back(self, tensor: Tensor) -> None:
        """Return an unused tensor to this list, which made it."""
        self._free.append(tensor)


class BufferPool:
    """Free lists of elements of state, by shape and dtype, in one layout.

    A step makes one new element per state and drops the oldest. Without reuse each step would
    allocate megabytes, and cause a page fault for every page of them.
    """

    def __init__(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self._lists: dict[tuple[tuple[int, ...], torch.dtype], FreeList] = {}

    def maker(
        self, shape: Sequence[int], dtype: torch.dtype, *, is_state: bool
    ) -> Callable[[], Tensor]:
        """A function that allocates a tensor; it reuses buffers for state, but not for results."""
        if not is_state:
            return partial(make_map, shape, dtype, torch.device("cpu"), self._layout)
        key = tuple(shape), dtype
        if key not in self._lists:
            self._lists[key] = FreeList(*key, self._layout)
        return self._lists[key].take

    def give(self, tensor: Tensor) -> None:
        """Return an unused tensor; tensors of other origin are dropped."""
        free_list = getattr(tensor, _FREE_LIST, _no_list)()
        if free_list is not None:
            free_list.give_back(tensor)


class Bindings:
    """Remembers which buffers an inference request is bound to, and binds only those that changed.

    The buffers of a state of two elements rotate, so that every third step uses the same ones:

        step          0      1      2      3
        past 1, 2     A, B   C, A   B, C   A, B
        newest        C      B      A      C

    Those of a state of one element repeat at every second step. `CYCLE` requests are used
    alternately. It is a multiple of 2 and 3, so that a request finds the buffers of such states,
    which are most of its more than hundred, bound already.
    """

    CYCLE = 6

    def __init__(self, places: int) -> None:
        self._bound: list[Tensor | None] = [None] * places

    def update(self, tensors: Sequence[Tensor], bind: Callable[[int, Tensor], None]) -> None:
        """Call `bind(place, tensor)` for each place that is bound to another tensor."""
        for place, (bound, tensor) in enumerate(zip(self._bound, tensors, strict=True)):
            if bound is not tensor:
                bind(place, tensor)
                self._bound[place] = tensor
