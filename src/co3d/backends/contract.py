"""The interface of backends, which compile step programs for a device and step their slots.

    Backend  --open-->  Executor  --load(program)-->  Executable  --open-->  State (of one slot)
    a record            device and precision          weights, plans         ring buffers

An `Executable` is immutable, so threads and slots share it. Everything that belongs to one stream
is in its `State`. `docs/backends.md` shows how to add a backend.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from co3d.backends.graphs.stored_graph import StepGraph
from co3d.compiler.program import Program

# (*frames, [age, [end]], *past) -> (*outputs, *newest); None for outputs that a phase lacks.
StepFunction = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]


class Executor(Protocol):
    """A backend on one device, in one precision.

    Attributes:
        description: backend, precision, device and threads, in words.
        dtype: of floating state and intermediate values.
        output_dtype: of the results.
        device: where results and state are.
        map_layout: memory format of tensors with four axes.
    """

    description: str
    dtype: torch.dtype
    output_dtype: torch.dtype
    device: torch.device
    map_layout: torch.memory_format

    def load(self, program: Program[Any]) -> "Executable":
        """Compile all step graphs of a program: pack weights, plan, make kernels."""
        ...

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """Compile one graph for inputs of these shapes, dtypes and layouts.

        The first `results` of the graph's outputs are results, the others elements of state.
        """
        ...


class State(Protocol):
    """The ring buffers of one slot: the past elements of every state of the program."""

    def read(self) -> list[list[Tensor]]:
        """Copies of the elements: per state, newest first, each of the state's shape."""
        ...

    def write(self, elements: Sequence[Sequence[Tensor]]) -> None:
        """Copy other elements over those of every state, in the order of `read`."""
        ...

    def reset(self) -> None:
        """Fill every element with its initial value."""
        ...

    def close(self) -> None:
        """Free the memory; the state must not be used afterwards."""
        ...


class Executable(Protocol):
    """One program compiled for one device and precision; threads and slots share it."""

    def open(self) -> State:
        """The state of a new slot, at its initial values."""
        ...

    def step(
        self,
        phase: int,
        is_masked: bool,
        states: Sequence[State],
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Run one step graph for k slots, and push its newest elements to their states.

        Several threads may call this at a time, for different states. States that are not named are
        neither read nor written.

        Args:
            phase: the index of the program's phase, the same for all of these slots.
            is_masked: which of the phase's two graphs.
            states: of the k slots, each named once.
            frames: per input (k, C, H, W), floating, on any device; the caller may reuse them.
            clocks: of masked graphs the slots' ages and, with edges="both", their ends: (k,) int64
                on the CPU, below 2^31.

        Returns:
            Per output (k, …) in `output_dtype`, in memory that belongs to the caller; None for
            outputs that the phase lacks.
        """
        ...


def make_map(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device, layout: torch.memory_format
) -> Tensor:
    """An uninitialised tensor, in this layout where it has four axes."""
    chosen = layout if len(shape) == 4 else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype, device=device, memory_format=chosen)


def copy_map(value: Tensor, executor: Executor) -> Tensor:
    """Copy to an executor's precision, then to its layout, which is faster than both at once."""
    copied = make_map(value.shape, executor.dtype, executor.device, executor.map_layout)
    return copied.copy_(value.to(executor.dtype))


def detach_results(
    results: Sequence[Tensor | None], held: Iterable[Tensor | None], dtype: torch.dtype
) -> list[Tensor | None]:
    """Convert results to `dtype`, and copy those that share memory with state or with each other.

    The caller may therefore write to them.
    """
    kept = {value.untyped_storage().data_ptr() for value in held if value is not None}

    def detach(value: Tensor) -> Tensor:
        made = value.to(dtype)
        if made.untyped_storage().data_ptr() in kept:
            made = made.clone()
        kept.add(made.untyped_storage().data_ptr())
        return made

    return [None if value is None else detach(value) for value in results]


def list_examples(
    program: Program[Any],
    executor: Executor,
    slots: int,
    *,
    is_masked: bool,
    frame_layout: torch.memory_format,
    frame_dtype: torch.dtype,
) -> list[Tensor]:
    """Example inputs of a step graph for this many slots: frames, clocks, elements of state.

    Clocks are zero, those of a first frame; the other contents are arbitrary.
    """
    device, layout = executor.device, executor.map_layout
    frames = [
        make_map((slots, *shape), frame_dtype, device, frame_layout)
        for shape in program.frame_shapes
    ]
    count = (2 if program.edges == "both" else 1) if is_masked else 0
    clocks = [torch.zeros(slots, dtype=torch.int64, device=device) for _ in range(count)]
    past = [
        make_map((slots, *spec.shape), spec.dtype_in(executor.dtype), device, layout)
        for spec in program.states
        for _ in range(spec.depth)
    ]
    return [*frames, *clocks, *past]


def join_rows(parts: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """Concatenate the results of several calls along the batch axis."""
    if len(parts) == 1:
        return list(parts[0])
    return [None if rows[0] is None else torch.cat(rows) for rows in zip(*parts, strict=True)]


def list_graphs(program: Program[Any]) -> dict[tuple[int, bool], StepGraph]:
    """The distinct step graphs of a program, by phase and whether they are masked."""
    graphs = {}
    for number, phase in enumerate(program.phases):
        if phase.masked is not None:
            graphs[number, True] = phase.masked
        if phase.steady is not phase.masked:  # a masked graph may serve all ages
            graphs[number, False] = phase.steady
    return graphs
