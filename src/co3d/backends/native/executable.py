"""A program compiled by the native backend: plans and packed weights, shared by all slots."""

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
from co3d.backends.native.memory import HugePageAllocator
from co3d.backends.native.state import ElementsTable, NativeState, StateLayout
from co3d.backends.native.step import PlannedStep, PreparedStep
from co3d.compiler.program import Program

Key = tuple[int, bool]  # identifies a step graph: its phase, and whether it is the masked graph


class Kernels(Protocol):
    """The executor's part that steps need; see `NativeExecutor`."""

    library: Any
    threads: int
    is_bfloat16: bool

    def bind_workspace(self, prepared: PreparedStep, workspace: Tensor) -> PlannedStep:
        """See `NativeExecutor.bind_workspace`."""
        ...

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """See `NativeExecutor.take_frames`."""
        ...


class Worker:
    """The memory that a thread needs to step slots: intermediate maps and spare blocks.

    Attributes:
        steps: the step graphs, bound to this worker's memory. tables: the addresses of their buffer
            tables.
        spares: the addresses of the spare blocks. spares_address: the address of that array.
    """

    def __init__(self, steps: Mapping[Key, PlannedStep], spares: Sequence[int]) -> None:
        self.steps = steps
        self.tables = {key: ctypes.addressof(step.table) for key, step in steps.items()}
        self.spares = (ctypes.c_void_p * max(len(spares), 1))(*spares)
        self.spares_address = ctypes.addressof(self.spares)


class NativeExecutable:
    """See `co3d.backends.contract.Executable`.

    Slots are not batched, because a kernel over several slots' maps is no faster than one kernel
    per slot. As many slots as there are threads step at the same time, each on one thread; each of
    the remaining slots then steps on all threads.
    """

    def __init__(
        self,
        program: Program[Any],
        kernels: Kernels,
        steps: Mapping[Key, tuple[PreparedStep, Exchange]],
        layout: StateLayout,
        allocator: HugePageAllocator,
    ) -> None:
        assert kernels.library.co3d_step_plan_bytes() == ctypes.sizeof(StepPlanStruct)
        self._program, self._kernels, self._layout = program, kernels, layout
        self._allocator, self._pool = allocator, BlockPool(allocator)
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
            return self._step_together(key, own, taken, clocks)
        parts = []
        with self._borrow(1) as (worker,):
            for row in range(count):
                inputs = [given[row : row + 1] for given in (*taken, *clocks)]
                parts.append(self._step_alone(key, own[row], inputs, worker))
        return join_rows(parts)

    def _step_alone(
        self, key: Key, state: NativeState, inputs: Sequence[Tensor], worker: Worker
    ) -> list[Tensor | None]:
        """Step one slot on all threads; kernels and PyTorch's operators alternate."""
        step, table, library = worker.steps[key], self._tables[key], self._kernels.library
        library.co3d_bind(step.table, table.pointer, state.pointer, worker.spares)

        def find_newest(update: int) -> Tensor:
            address = table.find_newest(update, state, worker.spares)
            return self._layout.view(table.updates[update], self._pool.find(address))

        results = step.run(inputs, state.view, find_newest)
        library.co3d_advance(table.pointer, state.pointer, worker.spares)
        return results

    def _step_together(
        self,
        key: Key,
        states: Sequence[NativeState],
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Step several slots in one call of the library, which releases Python's GIL."""
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
        # The values that depend on each slot's clocks follow its frames.
        times = [clock.tolist() for clock in clocks]
        known = [
            prepared.clocks.find(tuple((numbers[row],) for numbers in times))
            for row in range(count if times else 0)
        ]
        elements = (ElementsTable * count)(*[state.table for state in states])
        threads = min(self._kernels.threads, torch.get_num_threads())
        with self._borrow(threads if count >= threads else 1) as workers:
            self._kernels.library.co3d_step_slots(
                table.pointer,
                _list_pointers([worker.tables[key] for worker in workers]),
                _list_pointers([worker.spares_address for worker in workers]),
                threads,
                elements,
                _list_rows(read, count, [one.addresses for one in known]),
                _list_rows(results, count),
                count,
                self._kernels.is_bfloat16,
            )
        return list(results)

    @contextmanager
    def _borrow(self, count: int) -> Iterator[list[Worker]]:
        """Borrow workers for this call alone; make new ones where all are in use."""
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
            workspace = self._allocator.take(size)
            steps = {
                key: self._kernels.bind_workspace(prepared, workspace)
                for key, prepared in self._prepared.items()
            }
        sizes = [size for size, spares in self._spares.items() for _ in range(spares)]
        return Worker(steps, self._pool.take(sizes)[0])


def _list_pointers(addresses: list[int]) -> Any:
    return (ctypes.c_void_p * max(len(addresses), 1))(*addresses)


def _list_rows(tensors: Sequence[Tensor], rows: int, further: Sequence[Sequence[int]] = ()) -> Any:
    """For each row, its address in every tensor, then its further addresses."""
    starts = [(t.data_ptr(), t.stride(0) * t.itemsize) for t in tensors]
    listed: list[int] = []
    for row in range(rows):
        listed += [start + row * size for start, size in starts]
        listed += further[row] if further else ()
    return _list_pointers(listed)
