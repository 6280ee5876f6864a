"""Runs one step graph: native kernels, and PyTorch's operators where there is no kernel."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.contract import make_map
from co3d.backends.native.clocks import ClockValues
from co3d.backends.native.memory import lay_out, view_as_laid_out
from co3d.backends.native.plan import NativeSteps, Planner
from co3d.backends.threads import limit_threads

RunKernels = Callable[[NativeSteps, Any], None]
LayOut = Callable[[Tensor, Tensor], None]


class PreparedStep:
    """The immutable part of a step graph, which all workers share.

    Attributes:
        plan: operations and buffers.
        graph, values: the step graph, and its nodes' values as meta tensors.
        inputs, results, newest: the nodes of its inputs and outputs.
        sizes: shape and dtype of every value, which are slower to read from meta tensors.
        positions: the position of each input node.
        made_results: the results that kernels write, with the dtype that they write.
        made_newest: the newest elements that kernels write, with their indices.
        clocks: the values that depend on clocks alone.
        is_simple: whether one list of kernels makes all outputs, and results in float32.
    """

    def __init__(self, planner: Planner) -> None:
        self.plan = planner.make()
        fused = planner.fused
        self.graph, self.values, self.inputs = fused.graph, fused.values, fused.inputs
        self.results, self.newest = fused.results, fused.newest
        self.sizes = {
            node: (tuple(value.shape), value.dtype)
            for node, value in self.values.items()
            if isinstance(value, Tensor)
        }
        self.positions = {node: i for i, node in enumerate(fused.inputs)}
        self.made_results = {
            node: torch.float32 if planner.is_float_result(node) else self.values[node].dtype
            for node in self.plan.made
            if node not in self.newest
        }
        self.made_newest = {
            node: i
            for i, node in enumerate(self.newest)
            if node in self.plan.made and self.newest.index(node) == i
        }
        self.clocks = ClockValues(
            fused.graph,
            fused.clocks,
            fused.clock_nodes,
            {
                node: torch.bool if self.values[node].dtype == torch.bool else torch.float32
                for node in self.plan.clocks
            },
        )
        self.is_simple = (
            [type(step) for step in self.plan.steps] == [NativeSteps]
            and tuple(self.made_results) == self.results
            and len(self.made_newest) == len(self.newest)
            and all(dtype == torch.float32 for dtype in self.made_results.values())
        )

    @property
    def maps(self) -> set[int]:
        """Positions of the frames that are copied to NHWC before a step."""
        return self.plan.frames - self.plan.nchw

    def find_newest(self, number: int) -> int | None:
        """The buffer of a newest element; None where no kernel writes it."""
        node = self.newest[number]
        if node is None or self.made_newest.get(node) != number:
            return None
        return self.plan.made[node]

    @property
    def frames_in_state(self) -> dict[int, int]:
        """The frames that are newest elements too: input's position -> element's index."""
        numbers = {position: self.made_newest.get(self.inputs[position]) for position in self.maps}
        return {position: number for position, number in numbers.items() if number is not None}

    def make(self, node: fx.Node, dtype: torch.dtype | None = None) -> Tensor:
        """Allocate an uninitialised tensor for a value."""
        shape, own = self.sizes[node]
        return make_map(shape, dtype or own, torch.device("cpu"), torch.channels_last)


class PlannedStep:
    """Runs one step graph in one workspace; not thread-safe.

    Attributes:
        plan: operations and buffers.
        table: the addresses of the plan's buffers, which kernels read.
    """

    def __init__(
        self,
        prepared: PreparedStep,
        workspace: Tensor,
        run_kernels: RunKernels,
        lay_out_frames: LayOut,
        threads: int,
    ) -> None:
        self._prepared, self.plan = prepared, prepared.plan
        self._run_kernels, self._lay_out_frames = run_kernels, lay_out_frames
        self._workspace, self._threads = workspace, threads
        self.table = (ctypes.c_void_p * max(self.plan.buffers, 1))()
        for index, tensor in self.plan.constants.items():
            self.table[index] = tensor.data_ptr()
        for index, offset in self.plan.workspace.items():
            self.table[index] = self._workspace.data_ptr() + offset
        self._kept = prepared.frames_in_state
        self._clock_places = [prepared.positions[node] for node in prepared.clocks.inputs]
        self._maps = {
            position: prepared.make(prepared.inputs[position])
            for position in prepared.maps
            if position not in self._kept
        }
        for position, frame in self._maps.items():
            if position in self.plan.inputs:
                self.table[self.plan.inputs[position]] = frame.data_ptr()
        self._fixed = {
            node: self._view_workspace(node, index)
            for node, index in self.plan.views.items()
            if index in self.plan.workspace
        }

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """See `StepFunction`."""
        prepared = self._prepared
        newest = [None if node is None else prepared.make(node) for node in prepared.newest]
        for number, tensor in enumerate(newest):
            place = prepared.find_newest(number)
            if tensor is not None and place is not None:
                self.table[place] = tensor.data_ptr()
        made: Any = newest
        further: Sequence[Tensor] = ()  # `inputs` includes the elements of state
        return [*self.run(inputs, further.__getitem__, made.__getitem__), *newest]

    def run(
        self,
        inputs: Sequence[Tensor],
        find_past: Callable[[int], Tensor],
        find_newest: Callable[[int], Tensor],
    ) -> list[Tensor | None]:
        """Run the graph; the table must hold the addresses of the elements of state.

        Args:
            inputs: frames and clocks.
            find_past: gives an element of state by its index.
            find_newest: gives the tensor that a newest element is written to, by its index.

        Returns:
            The graph's results, new tensors.
        """
        held = list(inputs)  # keeps tensors alive whose addresses are in the table
        for position, tensor in enumerate(inputs):
            if position in self._maps:
                held[position] = self._maps[position]
                self._lay_out_frames(tensor, held[position])
            elif position in self._kept:
                held[position] = find_newest(self._kept[position])
                self._lay_out_frames(tensor, held[position])
            elif position in self.plan.inputs and position not in self.plan.nchw:
                held[position] = lay_out(tensor)
            if position in self.plan.inputs:
                self.table[self.plan.inputs[position]] = held[position].data_ptr()
        known = self._prepared.clocks.find(
            tuple(tuple(inputs[place].tolist()) for place in self._clock_places)
        )
        for buffer, address in zip(self.plan.clocks.values(), known.addresses, strict=True):
            self.table[buffer] = address
        made: dict[fx.Node, Tensor] = {}
        for node, dtype in self._prepared.made_results.items():
            made[node] = self._prepared.make(node, dtype)
            self.table[self.plan.made[node]] = made[node].data_ptr()
        if self._prepared.is_simple:
            assert isinstance(self.plan.steps[0], NativeSteps)
            self._run_kernels(self.plan.steps[0], self.table)
            return list(made.values())
        with torch.inference_mode(), limit_threads(self._threads):
            return self._run_mixed(held, {**known.values, **made}, find_past, find_newest)

    def _run_mixed(
        self,
        inputs: Sequence[Tensor],
        made: Mapping[fx.Node, Any],
        find_past: Callable[[int], Tensor],
        find_newest: Callable[[int], Tensor],
    ) -> list[Tensor | None]:
        """Run a graph that needs both kernels and PyTorch's operators; see `run`."""
        held: list[Tensor] = []
        values: dict[fx.Node, Any] = {**self._fixed, **made}
        made_newest = self._prepared.made_newest

        def find(node: fx.Node) -> Any:
            """A value as a PyTorch tensor."""
            origin = node
            # Views have one pixel, so that a reshape is right whatever the layout.
            while (
                origin.op == "call_function" and origin not in values and origin not in made_newest
            ):
                assert isinstance(origin.args[0], fx.Node)
                origin = origin.args[0]
            if origin in values:
                value = values[origin]
            elif origin in made_newest:
                value = find_newest(made_newest[origin])
            elif origin.op == "get_attr":
                value = getattr(self._prepared.graph, str(origin.target))
            else:
                position = self._prepared.positions[origin] - len(inputs)
                value = inputs[position] if position < 0 else find_past(position)
            return value if origin is node else value.reshape(self._prepared.values[node].shape)

        for step in self.plan.steps:
            if isinstance(step, NativeSteps):
                self._run_kernels(step, self.table)
                continue
            args, kwargs = fx.map_arg((step.node.args, step.node.kwargs), find)
            values[step.node] = result = step.node.target(*args, **kwargs)  # type: ignore[operator]
            if isinstance(result, Tensor):
                held.append(lay_out(result))
                self.table[step.buffer] = held[-1].data_ptr()
        for i, node in enumerate(self._prepared.newest):
            if node is not None and self._prepared.made_newest.get(node) != i:
                find_newest(i).copy_(find(node))
        results: list[Tensor | None] = []
        for node in self._prepared.results:
            is_own = node in self._prepared.made_results
            taken = None if node is None else find(node).to(torch.float32, copy=not is_own)
            results.append(taken)
        return results

    def _view_workspace(self, node: fx.Node, index: int) -> Tensor:
        """View a buffer of the workspace as its value."""
        value, offset = self._prepared.values[node], self.plan.workspace[index]
        size = value.numel() * value.element_size()
        return view_as_laid_out(
            self._workspace[offset : offset + size], tuple(value.shape), value.dtype
        )
