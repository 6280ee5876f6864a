"""The protocol of a backend: what compiles step graphs for a device and a precision."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from co3d.backends.graphs.stored_graph import StepGraph

# (*frames, [age, [end]], *past) -> (*outputs, *newest); None for outputs that a phase lacks.
StepFunction = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]


class Executor(Protocol):
    """Turns step graphs into functions; a `Past` holds the state that goes in and out of them.

    Attributes:
        description: backend, precision, device and threads, in words.
        dtype: of floating state, and of what is computed.
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

        The first `results` of the graph's outputs are results, the others elements of state.
        """
        ...

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """A step's frames, (slots, ...), as the step graphs want them.

        The caller may reuse its buffers after the step: what a graph remembers must be a copy.
        """
        ...

    def hold(self, elements: Sequence[Sequence[Tensor]]) -> "Past":
        """Hold the first elements of all states, its own from then on, and those of later steps."""
        ...


class Past(Protocol):
    """Elements of state of all slots, each a tensor: (slots, …)."""

    def step(
        self, function: StepFunction, inputs: Sequence[Tensor], updates: Sequence[int]
    ) -> list[Tensor | None]:
        """Run a step graph; its newest elements come in front, and the oldest drop out.

        Args:
            function: of the step graph, by the executor that holds the elements.
            inputs: frames and clocks.
            updates: the states of which the graph makes a newest element.

        Returns:
            The graph's results.
        """
        ...

    def get(self, state: int) -> list[Tensor]:
        """The elements of a state, newest first; the next step spares them, later ones do not."""
        ...

    def set(self, state: int, elements: Sequence[Tensor]) -> None:
        """Let other elements take the place of a state's; they are its own from then on."""
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


def part_results(
    results: Sequence[Tensor | None], held: Iterable[Tensor | None], dtype: torch.dtype
) -> list[Tensor | None]:
    """Results in their precision, which share no memory with what a stream holds.

    Whoever gets them may write to them.
    """
    kept = {value.untyped_storage().data_ptr() for value in held if value is not None}

    def part(value: Tensor) -> Tensor:
        made = value.to(dtype)
        return made.clone() if made.untyped_storage().data_ptr() in kept else made

    return [None if value is None else part(value) for value in results]
