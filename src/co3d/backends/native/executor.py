"""The native backend: step graphs through co3d's own kernels, PyTorch for what has none."""

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.buffers import Bindings, BufferPool
from co3d.backends.executor import StepFunction, copy_map, make_map
from co3d.backends.native.library import load_library
from co3d.backends.native.operation import Operation
from co3d.backends.native.plan import NativeSteps, Planner
from co3d.backends.native.weights import WeightPacker
from co3d.backends.placement import Placement
from co3d.backends.stored_graph import StepGraph, StoredGraph


class NativeExecutor:
    """Runs whole blocks of a network per kernel, in PyTorch's threads.

    Maps lie in memory with channels last. In bfloat16 products take pairs of bfloat16 and sum in
    float32 where the processor does; everything else is computed in float32 and kept in bfloat16.
    """

    output_dtype = torch.float32
    device = torch.device("cpu")
    map_layout = torch.channels_last

    def __init__(self, precision: str, dtype: torch.dtype, threads: int) -> None:
        self.dtype = dtype
        self._library = load_library()
        self._threads = threads
        self._is_half = dtype == torch.bfloat16
        self._weights = WeightPacker(
            self._library.co3d_lanes(),
            self._library.co3d_dense_depth() if self._is_half else 1,
            self._library.co3d_depthwise_depth() if self._is_half else 1,
        )
        self._place = Placement(dtype, self.device)
        self.pool = BufferPool(self.map_layout)
        self.description = f"native, {precision} on cpu, {threads} threads"

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`."""
        assert not isinstance(graph, StoredGraph)
        planner = Planner(
            self._place(graph),
            graph,
            self.dtype,
            self._weights,
            examples,
            results,
            self.count_chunks,
        )
        return PlannedStep(self, planner, results)

    def take_frame(self, frame: Tensor) -> Tensor:
        """See `Executor.take_frame`."""
        is_here = frame.device == self.device and frame.is_contiguous()
        if not is_here or frame.dtype != torch.float32 or frame.dim() != 4 or frame.shape[1] != 3:
            return copy_map(frame, self)
        taken = make_map(frame.shape, self.dtype, self.device, self.map_layout)
        self._library.co3d_take_frames(
            frame.data_ptr(),
            taken.data_ptr(),
            frame.shape[0],
            frame.shape[2] * frame.shape[3],
            self._is_half,
        )
        return taken

    def recycle(self, element: Tensor) -> None:
        """See `Executor.recycle`."""
        self.pool.give(element)

    def count_chunks(self, operation: Operation) -> int:
        """In how many chunks the kernels run an operation."""
        return self._library.co3d_count_chunks(ctypes.byref(operation), self._is_half)

    def run(self, operations: NativeSteps, buffers: Any) -> None:
        """Run native operations on a table of addresses."""
        self._library.co3d_run(
            operations.operations, operations.count, buffers, self._threads, self._is_half
        )


class PlannedStep:
    """One step graph, planned for fixed shapes."""

    def __init__(self, executor: NativeExecutor, planner: Planner, results: int) -> None:
        self._executor, self._results = executor, results
        self.plan = planner.make()
        self._outputs, self._values = planner.outputs, planner.values
        self._inputs = planner.inputs
        self._graph = planner.graph
        made = [self._describe(node, planner) for node in self.plan.made]
        self._makers = [
            executor.pool.maker(shape, dtype, is_state=is_state) for shape, dtype, is_state in made
        ]
        # Whether one list of operations makes all outputs, as the caller wants them.
        self._is_simple = (
            [type(step) for step in self.plan.steps] == [NativeSteps]
            and list(self.plan.made) == self._outputs
            and all(dtype == executor.output_dtype for _, dtype, _ in made[:results])
        )
        self._workspace = torch.empty(self.plan.workspace_bytes, dtype=torch.uint8)
        # Buffers whose addresses change from step to step; `Bindings` numbers them as they come.
        self._places = [*self.plan.inputs.values(), *self.plan.made.values()]
        count = len(self._places)
        self._turns = itertools.cycle([self._make_turn(count) for _ in range(Bindings.CYCLE)])
        self._fixed = {
            node: self._view_workspace(node, index)
            for node, index in self.plan.views.items()
            if index in self.plan.workspace
        }

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """See `StepFunction`."""
        buffers, bound, laid = next(self._turns)

        def bind(place: int, tensor: Tensor) -> None:
            laid[place] = contiguous = _lay_out(tensor)
            buffers[self._places[place]] = contiguous.data_ptr()

        made = [make() for make in self._makers]
        bound.update([*(inputs[position] for position in self.plan.inputs), *made], bind)
        if self._is_simple:
            assert isinstance(self.plan.steps[0], NativeSteps)
            self._executor.run(self.plan.steps[0], buffers)
            return made  # type: ignore[return-value]
        return self._run_steps(inputs, made, buffers)

    def _run_steps(
        self, inputs: Sequence[Tensor], made: Sequence[Tensor], buffers: Any
    ) -> list[Tensor | None]:
        """Kernels and PyTorch in turn."""
        values: dict[fx.Node, Any] = dict(zip(self._inputs, inputs, strict=True)) | self._fixed
        values.update(zip(self.plan.made, made, strict=True))
        held: list[Tensor] = []  # until the step is done: their addresses are in the table
        for step in self.plan.steps:
            if isinstance(step, NativeSteps):
                self._executor.run(step, buffers)
            else:
                result = self._run_torch(step.node, values)
                values[step.node] = result
                if isinstance(result, Tensor):
                    held.append(_lay_out(result))
                    buffers[step.buffer] = held[-1].data_ptr()
        return self._collect(values)

    def _make_turn(self, places: int) -> tuple[Any, Bindings, list[Tensor | None]]:
        """Addresses by buffer, those that stay filled in; and what the others belong to."""
        table = (ctypes.c_void_p * max(self.plan.buffers, 1))()
        for index, tensor in self.plan.constants.items():
            table[index] = tensor.data_ptr()
        for index, offset in self.plan.workspace.items():
            table[index] = self._workspace.data_ptr() + offset
        return table, Bindings(places), [None] * places

    def _collect(self, values: dict[fx.Node, Any]) -> list[Tensor | None]:
        """The outputs, each a tensor of its own."""
        returned: set[fx.Node] = set()
        collected: list[Tensor | None] = []
        for i, node in enumerate(self._outputs):
            if node is None:
                collected.append(None)
                continue
            value = self._find(node, values)
            if i < self._results:
                dtype = self._executor.output_dtype
                is_own = node in self.plan.made and node not in self._outputs[self._results :]
                collected.append(value.to(dtype, copy=not is_own))
            elif node in self.plan.made and node not in returned:
                collected.append(value)
                returned.add(node)
            else:
                make = self._executor.pool.maker(value.shape, value.dtype, is_state=True)
                collected.append(make().copy_(value))
        return collected

    def _run_torch(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self._find(n, values))
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _find(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """A value as PyTorch sees it."""
        if node in values:
            return values[node]
        if node.op == "get_attr":
            return getattr(self._graph, str(node.target))
        # A view of what a kernel made or read: it has one pixel, in any layout.
        source = node.args[0]
        assert isinstance(source, fx.Node)
        return self._find(source, values).reshape(self._values[node].shape)

    def _describe(
        self, node: fx.Node, planner: Planner
    ) -> tuple[tuple[int, ...], torch.dtype, bool]:
        """Shape and dtype of an output that kernels write, and whether it is kept as state."""
        value = self._values[node]
        dtype = torch.float32 if planner.is_float_result(node) else value.dtype
        return tuple(value.shape), dtype, node in self._outputs[self._results :]

    def _view_workspace(self, node: fx.Node, index: int) -> Tensor:
        """The tensor that lies at a fixed place of the workspace."""
        value, offset = self._values[node], self.plan.workspace[index]
        size = value.numel() * value.element_size()
        flat = self._workspace[offset : offset + size].view(value.dtype)
        if value.dim() != 4:
            return flat.view(value.shape)
        n, c, h, w = value.shape
        return flat.view(n, h, w, c).permute(0, 3, 1, 2)


def _lay_out(value: Tensor) -> Tensor:
    """As the kernels read it: maps with channels last, others row by row."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()
