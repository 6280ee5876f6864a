"""Buffers that runtimes write their results to, used again when nobody reads them any more."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from co3d.backends.contract import make_map

_SHELF = "_co3d_shelf"


def _find_none() -> None:
    """The shelf of a tensor that has none."""


class Shelf:
    """Free host tensors of one shape, dtype and layout."""

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
    ) -> None:
        self._shape, self._dtype, self._layout = shape, dtype, layout
        self._free: deque[Tensor] = deque()

    def take(self) -> Tensor:
        """A tensor with arbitrary content: the one given back first, as `Bindings` wants."""
        if self._free:
            return self._free.popleft()
        made = make_map(self._shape, self._dtype, torch.device("cpu"), self._layout)
        # Found again at once, where a look-up by shape takes longer.
        setattr(made, _SHELF, weakref.ref(self))
        return made

    def put_back(self, tensor: Tensor) -> None:
        """Take a tensor back that this shelf made and nobody reads any more."""
        self._free.append(tensor)


class BufferPool:
    """Shelves for elements of state, by shape and dtype, in one layout.

    A step makes one new element per state and drops the oldest. Without reuse each step would ask
    the system for megabytes of fresh memory, and pay for every page of it.
    """

    def __init__(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self._shelves: dict[tuple[tuple[int, ...], torch.dtype], Shelf] = {}

    def maker(
        self, shape: Sequence[int], dtype: torch.dtype, *, is_state: bool
    ) -> Callable[[], Tensor]:
        """What gives a tensor with arbitrary content: always a new one if it is to be a result."""
        if not is_state:
            return partial(make_map, shape, dtype, torch.device("cpu"), self._layout)
        key = tuple(shape), dtype
        if key not in self._shelves:
            self._shelves[key] = Shelf(*key, self._layout)
        return self._shelves[key].take

    def give(self, tensor: Tensor) -> None:
        """Take a tensor back that nobody reads any more; those from elsewhere are let go."""
        shelf = getattr(tensor, _SHELF, _find_none)()
        if shelf is not None:
            shelf.put_back(tensor)


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

    def update(self, tensors: Sequence[Tensor], bind: Callable[[int, Tensor], None]) -> None:
        """Call `bind(place, tensor)` for each place where another tensor is bound."""
        for place, (bound, tensor) in enumerate(zip(self._bound, tensors, strict=True)):
            if bound is not tensor:
                bind(place, tensor)
                self._bound[place] = tensor
