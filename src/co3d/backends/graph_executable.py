"""Slots and state for backends that run whole graphs, such as ONNX Runtime.

Such a backend only compiles graphs, by implementing `GraphExecutor.prepare`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.backends.buffers import BufferPool
from co3d.backends.contract import (
    Executable,
    State,
    StepFunction,
    copy_map,
    join_rows,
    list_examples,
    list_graphs,
    make_map,
)
from co3d.backends.graphs.stored_graph import StepGraph
from co3d.compiler.program import Program

# Binds a compiled graph to a slot: the function that it returns takes its buffers from the pool.
BindGraph = Callable[[BufferPool], StepFunction]


class GraphExecutor(ABC):
    """An executor that runs a whole step graph per call; see `co3d.backends.contract.Executor`."""

    description: str
    dtype: torch.dtype
    output_dtype: torch.dtype
    device: torch.device
    map_layout: torch.memory_format

    @abstractmethod
    def prepare(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> BindGraph:
        """Compile a graph once for inputs of these shapes, dtypes and layouts.

        Several threads may call bound functions at a time. Results must be new tensors of
        `output_dtype`.

        Args:
            results: how many of the graph's outputs are results; the others are elements of state.
        """

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`."""
        return self.prepare(graph, examples, results)(BufferPool(self.map_layout))

    def load(self, program: Program[Any]) -> Executable:
        """See `Executor.load`."""
        return GraphExecutable(program, self, program.graph_slots or 1)


class GraphState:
    """The elements of one slot as tensors (1, …); see `co3d.backends.contract.State`.

    A step makes new tensors, and returns the oldest ones to the slot's own pool.
    """

    def __init__(self, program: Program[Any], executor: GraphExecutor) -> None:
        self._program, self._executor = program, executor
        self.pool = BufferPool(executor.map_layout)
        self.functions: dict[BindGraph, StepFunction] = {}
        self.elements: list[list[Tensor]] = []
        self.reset()

    def read(self) -> list[list[Tensor]]:
        """See `State.read`."""
        return [[element[0].clone() for element in past] for past in self.elements]

    def write(self, elements: Sequence[Sequence[Tensor]]) -> None:
        """See `State.write`. It makes new tensors, because two states may share one."""
        empty = [[self._make(i) for _ in past] for i, past in enumerate(elements)]
        for to, given in zip(empty, elements, strict=True):
            for one, element in zip(to, given, strict=True):
                one[0].copy_(element)
        self.elements = empty

    def reset(self) -> None:
        """See `State.reset`."""
        self.elements = [
            [self._make(i).fill_(spec.fill) for _ in range(spec.depth)]
            for i, spec in enumerate(self._program.states)
        ]

    def advance(self, updates: Iterable[int], newest: Iterable[Tensor | None]) -> None:
        """Push the newest elements, (1, …), and return the oldest to the pool."""
        for i, made in zip(updates, newest, strict=True):
            assert made is not None
            *kept, oldest = self.elements[i]
            self.elements[i] = [made, *kept]
            self.pool.give(oldest)

    def close(self) -> None:
        """See `State.close`."""
        self.elements, self.functions = [], {}

    def _make(self, state: int) -> Tensor:
        spec, executor = self._program.states[state], self._executor
        shape, dtype = (1, *spec.shape), spec.dtype_in(executor.dtype)
        return make_map(shape, dtype, executor.device, executor.map_layout)


class GraphExecutable:
    """See `co3d.backends.contract.Executable`.

    Args:
        rows: the batch size of the graphs, None for any. With 1, slots step one by one; otherwise
            the elements of this many slots are concatenated for a step.
    """

    def __init__(self, program: Program[Any], executor: GraphExecutor, rows: int | None) -> None:
        self._program, self._executor, self._rows = program, executor, rows
        count = len(program.output_shapes)
        self._graphs = {
            key: executor.prepare(
                graph,
                list_examples(
                    program,
                    executor,
                    rows or 1,
                    is_masked=key[1],
                    frame_layout=executor.map_layout,
                    frame_dtype=executor.dtype,
                ),
                count,
            )
            for key, graph in list_graphs(program).items()
        }
        # Batched slots share one set of buffers.
        self._lock = threading.Lock()
        self._pool = BufferPool(executor.map_layout)
        self._functions: dict[BindGraph, StepFunction] = {}

    def open(self) -> GraphState:
        """See `Executable.open`."""
        return GraphState(self._program, self._executor)

    def step(
        self,
        phase: int,
        is_masked: bool,
        states: Sequence[State],
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """See `Executable.step`."""
        graph, updates = self._graphs[phase, is_masked], self._program.phases[phase].updates
        size = self._rows or len(states)
        parts = []
        for first in range(0, len(states), size):
            rows = slice(first, first + size)
            some = [state for state in states[rows] if isinstance(state, GraphState)]
            inputs = [copy_map(given[rows], self._executor) for given in frames]
            inputs += [given[rows].to(self._executor.device) for given in clocks]
            with torch.inference_mode():
                if size == 1:
                    parts.append(self._step_one(graph, updates, some[0], inputs))
                else:
                    parts.append(self._step_several(graph, updates, some, inputs))
        return join_rows(parts)

    def _step_one(
        self, graph: BindGraph, updates: Sequence[int], state: GraphState, inputs: list[Tensor]
    ) -> list[Tensor | None]:
        if graph not in state.functions:
            state.functions[graph] = graph(state.pool)
        past = [element for elements in state.elements for element in elements]
        made = state.functions[graph]([*inputs, *past])
        count = len(made) - len(updates)
        state.advance(updates, made[count:])
        return list(made[:count])

    def _step_several(
        self,
        graph: BindGraph,
        updates: Sequence[int],
        states: Sequence[GraphState],
        inputs: list[Tensor],
    ) -> list[Tensor | None]:
        # The batch is padded with copies of the first slot, whose results are dropped.
        filled = len(states)
        padding = (self._rows or filled) - filled
        padded = [*states, *[states[0]] * padding]
        inputs = [torch.cat([given, *[given[:1]] * padding]) for given in inputs]
        past = [
            self._lay_out(torch.cat(rows))
            for pasts in zip(*(state.elements for state in padded), strict=True)
            for rows in zip(*pasts, strict=True)
        ]
        with self._lock:
            if graph not in self._functions:
                self._functions[graph] = graph(self._pool)
            made = self._functions[graph]([*inputs, *past])
            count = len(made) - len(updates)
            newest = [element for element in made[count:] if element is not None]
            for row, state in enumerate(states):
                state.advance(updates, [element[row : row + 1].clone() for element in newest])
            for element in newest:
                self._pool.give(element)
        return [None if value is None else value[:filled] for value in made[:count]]

    def _lay_out(self, value: Tensor) -> Tensor:
        if value.dim() == 4:
            return value.contiguous(memory_format=self._executor.map_layout)
        return value
