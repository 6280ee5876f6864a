"""A program on a GPU: slots in pools, and a captured CUDA graph for every batch size."""

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from co3d.backends.contract import Executor, State, join_rows
from co3d.backends.triton_gpu.batch import Batch
from co3d.backends.triton_gpu.capture import Recorder, Run
from co3d.backends.triton_gpu.fused_graph import FusedGraph
from co3d.backends.triton_gpu.launches import Launcher
from co3d.backends.triton_gpu.operand import Operand
from co3d.backends.triton_gpu.pools import Pools
from co3d.compiler.program import Program
from co3d.errors import StreamError

# Batch sizes for which steps are captured. A batch of fewer slots is padded with the spare slot;
# more than 64 slots run in several batches.
SIZES = (1, 2, 4, 8, 16, 32, 64)


class TritonState:
    """A slot's number in the pools; see `co3d.backends.contract.State`.

    A state that is garbage-collected without `close` gives its number back, too.
    """

    def __init__(self, executable: "TritonExecutable", pools: Pools, slot: int) -> None:
        self._executable, self._slot = executable, slot
        self._release = weakref.finalize(self, pools.give_slot, slot)
        self._release.atexit = False

    @property
    def slot(self) -> int:
        """The slot's number in the pools.

        Raises:
            StreamError: the state was closed.
        """
        if not self._release.alive:
            raise StreamError("cannot use this state: it is closed; open another one")
        return self._slot

    def read(self) -> list[list[Tensor]]:
        """See `State.read`."""
        return self._executable.read(self.slot)

    def write(self, elements: Sequence[Sequence[Tensor]]) -> None:
        """See `State.write`."""
        self._executable.write(self.slot, elements)

    def reset(self) -> None:
        """See `State.reset`."""
        self._executable.reset(self.slot)

    def close(self) -> None:
        """See `State.close`; closing twice is closing once."""
        self._release()


class TritonExecutable:
    """See `co3d.backends.contract.Executable`.

    Steps of several threads run one after the other, since they share buffers. A step that fails
    leaves all states unchanged, because their rings advance only after it.

    Args:
        program: the program to run.
        graphs: its step graphs, by phase and whether they are masked.
        executor: gives device, precision and memory layout.
        launcher: launches the kernels that belong to no graph.
    """

    def __init__(
        self,
        program: Program[Any],
        graphs: Mapping[tuple[int, bool], FusedGraph],
        executor: Executor,
        launcher: Launcher,
    ) -> None:
        self._program, self._graphs = program, graphs
        self._executor, self._device = executor, executor.device
        self._launcher = launcher
        self._lock = threading.Lock()
        self._recorder = Recorder(executor.device)
        self._batches: dict[int, Batch] = {}
        # Keys are (phase, whether there are masks, batch size).
        self._compiled: set[tuple[int, bool, int]] = set()
        self._recorded: dict[tuple[int, bool, int], Run] = {}
        self._last_stream: torch.cuda.Stream | None = None
        with self._on_device():
            self._pools = Pools(program, executor)
            for key in graphs:
                self._prepare(*key, SIZES[0])

    def open(self) -> TritonState:
        """See `Executable.open`. Where no slot is free, the pools grow to twice their size.

        Growing copies all states and discards the captured graphs, which are captured again when
        they are next needed.
        """
        with self._on_device():
            if self._pools.is_full:
                if self._last_stream is not None:
                    # Steps that are still running read the old pools, which are freed below.
                    self._last_stream.synchronize()
                self._recorded.clear()
                self._pools.grow()
            slot = self._pools.take_slot()
            self._pools.fill(slot)
            return TritonState(self, self._pools, slot)

    def step(
        self,
        phase: int,
        is_masked: bool,
        states: Sequence[State],
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """See `Executable.step`."""
        slots = [state.slot for state in states if isinstance(state, TritonState)]
        assert len(slots) == len(states)
        parts = []
        with self._on_device():
            for first in range(0, len(slots), SIZES[-1]):
                rows = slice(first, first + SIZES[-1])
                given, times = ([x[rows] for x in tensors] for tensors in (frames, clocks))
                parts.append(self._run(phase, is_masked, slots[rows], given, times))
            results = join_rows(parts)
            self._pools.advance(slots, self._program.phases[phase].updates)
        return results

    def read(self, slot: int) -> list[list[Tensor]]:
        """Copies of a slot's elements: see `State.read`."""
        with self._on_device():
            return self._pools.read(slot)

    def write(self, slot: int, elements: Sequence[Sequence[Tensor]]) -> None:
        """Copy elements over those of a slot: see `State.write`."""
        with self._on_device():
            self._pools.write(slot, elements)

    def reset(self, slot: int) -> None:
        """Give a slot's elements their initial values."""
        with self._on_device():
            self._pools.fill(slot)

    def _run(
        self,
        phase: int,
        is_masked: bool,
        slots: Sequence[int],
        frames: Sequence[Tensor],
        clocks: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Step up to 64 slots without advancing their rings; returns new tensors."""
        size = next(size for size in SIZES if size >= len(slots))
        batch = self._find_batch(size)
        key = phase, is_masked, size
        if key not in self._recorded:
            step = self._prepare(*key)
            self._recorded[key] = self._recorder.record(step)
        batch.load(slots, self._pools, frames, clocks)
        made = self._recorded[key]()
        return [None if one is None else one[: len(slots)].clone() for one in made]

    def _find_batch(self, size: int) -> Batch:
        if size not in self._batches:
            shapes = self._program.frame_shapes
            self._batches[size] = Batch(size, shapes, self._pools, self._executor)
        return self._batches[size]

    def _prepare(self, phase: int, is_masked: bool, size: int) -> Run:
        """Make a step of a batch, and compile its kernels.

        It holds the addresses of the batch's inputs and of the pools, so that growing the pools
        invalidates it. The batch consists of spare slots until inputs are loaded.
        """
        batch = self._find_batch(size)
        batch.clear()
        operands = self._list_operands(phase, is_masked, batch)
        run = partial(self._graphs[phase, is_masked].run, *operands)

        def step() -> list[Tensor | None]:
            if len(self._pools.lines):
                self._launcher.find_rows(batch.heads, self._pools.lines, batch.rows)
            return run()

        key = phase, is_masked, size
        if key not in self._compiled:
            self._launcher.compile_kernels(step)
            self._compiled.add(key)
        return step

    def _list_operands(
        self, phase: int, is_masked: bool, batch: Batch
    ) -> tuple[list[Operand], list[Operand]]:
        """The operands that a step graph reads, and those that it writes newest elements to."""
        clocks = 0
        if is_masked:
            clocks = 2 if self._program.edges == "both" else 1
        given = [Operand(tensor) for tensor in (*batch.frames, *batch.clocks[:clocks])]
        updates = self._program.phases[phase].updates
        return (
            [*given, *self._pools.list_past(batch.rows)],
            self._pools.list_newest(batch.rows, updates),
        )

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Lock the pools, make the device current and wait for the last caller's CUDA stream."""
        is_gpu = self._device.type == "cuda"
        device = torch.cuda.device(self._device) if is_gpu else nullcontext()
        with self._lock, torch.inference_mode(), device:
            if is_gpu:
                stream = torch.cuda.current_stream()
                if self._last_stream not in (None, stream):
                    stream.wait_stream(self._last_stream)
                self._last_stream = stream
            yield
