"""The protocol of a backend: what compiles step graphs for a device and a precision."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from co3d.backends.stored_graph import StepGraph

# (*frames, [age, [end]], *past) -> (*outputs, *newest); None for outputs that a phase lacks.
StepFunction = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]


class Executor(Protocol):
    """Turns step graphs into functions; the runner owns the state that goes in and out of them.

    Attributes:
        description: backend, precision, device and threads, in words.
        dtype: of frames and floating state.
        output_dtype: of the results.
        device: where all tensors are.
        map_layout: memory format of tensors with four axes.
    """

    description: str
    dtype: torch.dtype
    output_dtype: torch.dtype
    device: torch.device
    map_layout: torch.memory_format

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """Prepare one step graph for inputs of these shapes, dtypes and layouts.

        The first `results` of the graph's outputs are results, the others elements of state. The
        function that it returns may reuse tensors that were given to `recycle`.
        """
        ...

    def take_frame(self, frame: Tensor) -> Tensor:
        """A copy of an input, (slots, ...), in the executor's precision and layout."""
        ...

    def recycle(self, element: Tensor) -> None:
        """Take back an element of state that a step made and that nobody reads any more."""
        ...


def make_map(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device, layout: torch.memory_format
) -> Tensor:
    """An uninitialised tensor, in this layout where it has four axes."""
    chosen = layout if len(shape) == 4 else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype, device=device, memory_format=chosen)


def copy_map(value: Tensor, executor: Executor) -> Tensor:
    """A copy in an executor's precision and layout: first the one, then the other, is quickest."""
    copied = make_map(value.shape, executor.dtype, executor.device, executor.map_layout)
    return copied.copy_(value.to(executor.dtype))
