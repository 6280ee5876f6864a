"""State that stays where it is, and steps captured once for each way in which it lies."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from co3d.backends.contract import StepFunction, make_map
from co3d.backends.triton_gpu.fused_graph import FusedGraph

# A ring of any of its divisors is back where it was after so many steps, and so are all of them.
CYCLE = 6
# At native rate slots in different phases turn rings at their own times, in too many ways to keep.
MOST_CAPTURED = 128
# PyTorch captures one step at a time in a process.
_CAPTURING = threading.Lock()


class Ring:
    """The elements of one state, and a place for the next one.

        a state of two elements   step 0      step 1      step 2
        buffer A                  past 2      newest      past 1
        buffer B                  past 1      past 2      newest
        buffer C                  newest      past 1      past 2

    Of states too long for a cycle the elements move on instead of their meaning.

    Args:
        past: the first elements, newest first.
    """

    def __init__(self, past: Sequence[Tensor]) -> None:
        self._depth = len(past)
        fitting = (n for n in range(self._depth + 1, CYCLE + 1) if CYCLE % n == 0)
        self._length = next(fitting, 0)
        self._head = 0
        first = past[0]
        if self._length:
            self._buffers = [
                make_map(first.shape, first.dtype, first.device, torch.channels_last)
                for _ in range(self._length)
            ]
        else:
            rows = (self._depth + 1) * first.shape[0]
            shape = (rows, *first.shape[1:])
            self._whole = make_map(shape, first.dtype, first.device, torch.channels_last)
            self._buffers = list(self._whole.split(first.shape[0]))
        self.set(past)

    @property
    def head(self) -> int:
        """The buffer of the next newest element."""
        return self._head

    @property
    def newest(self) -> Tensor:
        """Where the next newest element goes."""
        return self._buffers[self._head]

    @property
    def past(self) -> list[Tensor]:
        """The elements where they lie, newest first."""
        count = len(self._buffers)
        return [self._buffers[(self._head + age) % count] for age in range(1, self._depth + 1)]

    def get(self) -> list[Tensor]:
        """The elements, newest first, which the next step spares."""
        return self.past if self._length else [element.clone() for element in self.past]

    def set(self, past: Sequence[Tensor]) -> None:
        """Copy other elements over them."""
        for to, element in zip(self.past, past, strict=True):
            to.copy_(element)

    def move(self) -> None:
        """Let elements that move become older by one; part of a step on the device."""
        if not self._length:
            rows = self.newest.shape[0]
            self._whole[rows:].copy_(self._whole[:-rows].clone())

    def turn(self) -> None:
        """Let the newest element be the first of the past ones."""
        if self._length:
            self._head = (self._head - 1) % self._length


@dataclass(frozen=True)
class Captured:
    """A step that the device runs as one: its graph, and where its results lie."""

    graph: torch.cuda.CUDAGraph
    results: list[Tensor | None]


class Rings:
    """The rings of all states. On a GPU each step is captured when it first meets them so.

    See `co3d.backends.contract.Past`.
    """

    def __init__(self, elements: Sequence[Sequence[Tensor]], device: torch.device) -> None:
        self._rings = [Ring(past) for past in elements]
        self._device = device
        # Of each function, the tensors that frames and clocks are copied to.
        self._inputs: dict[FusedGraph, list[Tensor]] = {}
        # The rings that it reads or writes.
        self._touched: dict[FusedGraph, list[Ring]] = {}
        self._captured: dict[tuple[FusedGraph, tuple[int, ...]], Captured] = {}
        self._captures = device.type == "cuda"
        if self._captures:
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream(device)

    def step(
        self, function: StepFunction, inputs: Sequence[Tensor], updates: Sequence[int]
    ) -> list[Tensor | None]:
        """See `Past.step`."""
        assert isinstance(function, FusedGraph)
        with torch.inference_mode():
            if function not in self._inputs:
                self._inputs[function] = [function.make_input(like) for like in inputs]
                self._touched[function] = self._find_touched(function, updates)
            for to, given in zip(self._inputs[function], inputs, strict=True):
                to.copy_(given)
            results = self._advance(function, updates)
        for i in updates:
            self._rings[i].turn()
        return results

    def get(self, state: int) -> list[Tensor]:
        """See `Past.get`."""
        return self._rings[state].get()

    def set(self, state: int, elements: Sequence[Tensor]) -> None:
        """See `Past.set`; they are copied."""
        with torch.inference_mode():
            self._rings[state].set(elements)

    def _advance(self, function: FusedGraph, updates: Sequence[int]) -> list[Tensor | None]:
        """Run a step, as one where that can be, and move what moves; its results, new tensors."""
        key = function, tuple(ring.head for ring in self._touched[function])
        if self._captures and key not in self._captured and len(self._captured) < MOST_CAPTURED:
            self._captured[key] = self._capture(function, updates)
        if key in self._captured:
            self._captured[key].graph.replay()
            results = self._captured[key].results
            return [None if result is None else result.clone() for result in results]
        return self._run(function, updates)

    def _run(self, function: FusedGraph, updates: Sequence[int]) -> list[Tensor | None]:
        results = self._launch(function, updates)
        for i in updates:
            self._rings[i].move()
        return results

    def _launch(self, function: FusedGraph, updates: Sequence[int]) -> list[Tensor | None]:
        past = [element for ring in self._rings for element in ring.past]
        newest = [self._rings[i].newest for i in updates]
        return function.run([*self._inputs[function], *past], newest)

    def _find_touched(self, function: FusedGraph, updates: Sequence[int]) -> list[Ring]:
        """The rings that a step reads or writes: how others lie is the same to it."""
        touched, position = [], len(self._inputs[function])
        for i, ring in enumerate(self._rings):
            end = position + len(ring.past)
            if i in updates or any(map(function.reads, range(position, end))):
                touched.append(ring)
            position = end
        return touched

    def _capture(self, function: FusedGraph, updates: Sequence[int]) -> Captured:
        """Let the device note down a step instead of running it."""
        with _CAPTURING, torch.cuda.device(self._device):
            # What chooses kernels, or fills caches, cannot be noted down: it happens here, and is
            # done once more, for nothing has moved.
            self._launch(function, updates)
            graph = torch.cuda.CUDAGraph()
            # Threads that serve other streams may go on with theirs meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                results = self._run(function, updates)
        return Captured(graph, results)
