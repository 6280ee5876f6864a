"""Elements of state as a list per state: step functions make new tensors, old ones are let go."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from co3d.backends.contract import StepFunction


class Elements:
    """See `co3d.backends.contract.Past`.

    Args:
        elements: of each state, newest first.
        recycle: takes back an element that nobody reads any more.
    """

    def __init__(
        self, elements: Sequence[Sequence[Tensor]], recycle: Callable[[Tensor], None]
    ) -> None:
        self._elements = [list(past) for past in elements]
        self._recycle = recycle

    def step(
        self, function: StepFunction, inputs: Sequence[Tensor], updates: Sequence[int]
    ) -> list[Tensor | None]:
        """See `Past.step`."""
        with torch.inference_mode():
            made = function([*inputs, *(element for past in self._elements for element in past)])
        count = len(made) - len(updates)
        for i, newest in zip(updates, made[count:], strict=True):
            assert newest is not None
            *kept, oldest = self._elements[i]
            self._elements[i] = [newest, *kept]
            self._recycle(oldest)
        return list(made[:count])

    def get(self, state: int) -> list[Tensor]:
        """See `Past.get`."""
        return list(self._elements[state])

    def set(self, state: int, elements: Sequence[Tensor]) -> None:
        """See `Past.set`."""
        self._elements[state] = list(elements)
