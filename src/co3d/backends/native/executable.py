"""A program in the native backend: plans and packed weights, which slots and threads share."""

import ctypes
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from co3d.backends.contract import State, join_rows, make_map
from co3d.backends.native.blocks import BlockPool
from co3d.backends.native.exchange import Exchange
from co3d.backends.native.exchange_table import StepPlanStruct, StepTable, count_spares
from co3d.backends.native.memory import Reserve
from co3d.backends.native.state import ElementsTable, NativeState, StateLayout
from co3d.backends.native.step import PlannedStep, PreparedStep
from co3d.compiler.program import Program

Key = tuple[int, bool]  # of a step graph: the phase, and whether it is the masked graph


class Kernels(Protocol):
    """What runs steps; see `NativeExecutor`."""

    library: Any
    threads: int
    is_half: bool

    def bind_workspace(self, prepared: PreparedStep, workspace: Tensor) -> PlannedStep:
        """The step in a workspace."""
        ...

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """Frames as steps read them."""
        ...


class Worker:
    """What a thread needs to step slots: memory for intermediate maps, and spare blocks."""

    def __init__(self, steps: Mapping[Key, PlannedStep], spares: Sequence[int]) -> None:
        self.steps = steps
        self.spares = (ctypes.c_void_p * max(len(spares), 1))(*spares)


class NativeExecutable:
    """See `co3d.backends.contract.Executable`.

    Slots step one by one: a map of several slots is no quicker than the maps of each. As many slots
    as there are threads step at the same time, each on one thread; those that are left over take
    all threads one after the other.
    """

    def __init__(
        self,
        program: Program[Any],
        kernels: Kernels,
        steps: Mapping[Key, tuple[PreparedStep, Exchange]],
        layout: StateLayout,
        reserve: Reserve,
    ) -> None:
        assert kernels.library.co3d_step_plan_bytes() == ctypes.sizeof(StepPlanStruct)
        self._program, self._kernels, self._layout = program, kernels, layout
        self._reserve, self._pool = reserve, BlockPool(reserve)
        self._prepared = {key: prepared for key, (prepared, _) in steps.items()}
        self._spares = count_spares(exchange for _, exchange in steps.values())
        self._tables = {
            key: StepTable(program, key[0], prepared, exchange, layout, self._spares)
            for key, (prepared, exchange) in steps.items()
        }
        self._workers: deque[Worker] = deque()
        self._lock = threading.Lock()

    def open(self) -> NativeState:
        """See `Executable.open`."""
        return NativeState(self._layout, self._pool)

    def step(
        self,
        phase: int,
        is_masked: bool,
        states: Sequence[State],
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """See `Executable.step`."""
        key, count = (phase, is_masked), len(states)
        taken = self._kernels.take_frames(frames)
        own = [state for state in states if isinstance(state, NativeState)]
        if self._tables[key].can_step_together:
            return self._step_together(key, own, taken)
        parts = []
        with self._borrow(1) as (worker,):
            for row in range(count):
                inputs = [given[row : row + 1] for given in (*taken, *clocks)]
                parts.append(self._step_alone(key, own[row], inputs, worker))
        return join_rows(parts)

    def _step_alone(
        self, key: Key, state: NativeState, inputs: Sequence[Tensor], worker: Worker
    ) -> list[Tensor | None]:
        """Step one slot on all threads: kernels and PyTorch in turn."""
        step, table, library = worker.steps[key], self._tables[key], self._kernels.library
        library.co3d_bind(step.table, table.pointer, state.pointer, worker.spares)

        def find_newest(update: int) -> Tensor:
            address = table.find_newest(update, state, worker.spares)
            return self._layout.view(table.updates[update], self._pool.find(address))

        results = step.run(inputs, state.view, find_newest)
        library.co3d_advance(table.pointer, state.pointer, worker.spares)
        return results

    def _step_together(
        self, key: Key, states: Sequence[NativeState], frames: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Step several slots in one call of the library, which lets go of Python's lock."""
        prepared, table, count = self._prepared[key], self._tables[key], len(states)
        results = [
            make_map(
                (count, *prepared.sizes[node][0][1:]),
                dtype,
                torch.device("cpu"),
                torch.channels_last,
            )
            for node, dtype in prepared.made_results.items()
        ]
        read = [frames[position] for position in table.frame_positions]
        elements = (ElementsTable * count)(*[state.table for state in states])
        threads = min(self._kernels.threads, torch.get_num_threads())
        with self._borrow(threads if count >= threads else 1) as workers:
            self._kernels.library.co3d_step_slots(
                table.pointer,
                _list_pointers(ctypes.addressof(worker.steps[key].table) for worker in workers),
                _list_pointers(ctypes.addressof(worker.spares) for worker in workers),
                threads,
                elements,
                _list_rows(read, count),
                _list_rows(results, count),
                count,
                self._kernels.is_half,
            )
        return list(results)

    @contextmanager
    def _borrow(self, count: int) -> Iterator[list[Worker]]:
        """Workers that nobody else uses meanwhile; new ones where all are lent."""
        workers = []
        for _ in range(count):
            try:
                workers.append(self._workers.pop())
            except IndexError:
                workers.append(self._make_worker())
        try:
            yield workers
        finally:
            self._workers.extend(workers)

    def _make_worker(self) -> Worker:
        with self._lock:
            size = max(prepared.plan.workspace_bytes for prepared in self._prepared.values())
            workspace = self._reserve.take(size)
            steps = {
                key: self._kernels.bind_workspace(prepared, workspace)
                for key, prepared in self._prepared.items()
            }
        sizes = [size for size, spares in self._spares.items() for _ in range(spares)]
        return Worker(steps, self._pool.take(sizes)[0])


def _list_pointers(addresses: Iterator[int]) -> Any:
    listed = list(addresses)
    return (ctypes.c_void_p * max(len(listed), 1))(*listed)


def _list_rows(tensors: Sequence[Tensor], rows: int) -> Any:
    """The address of each row, row by row."""
    starts = [(t.data_ptr(), t.stride(0) * t.itemsize) for t in tensors]
    return _list_pointers(start + row * size for row in range(rows) for start, size in starts)
