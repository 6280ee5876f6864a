"""The native backend: step graphs through co3d's own kernels, PyTorch for what has none."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.backends.contract import StepFunction
from co3d.backends.fusion.plan import plan_graph
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.native.library import load_library
from co3d.backends.native.memory import Reserve
from co3d.backends.native.operation import Operation
from co3d.backends.native.plan import NativeSteps, Planner
from co3d.backends.native.planes import is_in_planes
from co3d.backends.native.rings import Rings
from co3d.backends.native.step import PlannedStep
from co3d.backends.native.weights import WeightPacker


class NativeExecutor:
    """Runs whole blocks of a network per kernel, in PyTorch's threads.

    Maps lie in memory with channels last. In bfloat16 products of maps take pairs of bfloat16 and
    sum in float32 where the processor does; everything else is computed in float32 and kept in
    bfloat16.
    """

    output_dtype = torch.float32
    device = torch.device("cpu")
    map_layout = torch.channels_last

    def __init__(self, precision: str, dtype: torch.dtype, threads: int) -> None:
        self.dtype = dtype
        self._library = load_library()
        self._threads = threads
        self._is_half = dtype == torch.bfloat16
        self._reserve = Reserve()
        self._weights = WeightPacker(
            self._reserve,
            self._library.co3d_lanes(),
            self._library.co3d_dense_depth() if self._is_half else 1,
            self._library.co3d_depthwise_depth() if self._is_half else 1,
        )
        self._place = Placement(dtype, self.device)
        self.description = f"native, {precision} on cpu, {threads} threads"

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`."""
        assert not isinstance(graph, StoredGraph)
        fused = plan_graph(self._place(graph), graph, examples, self.dtype, results)
        planner = Planner(fused, self.dtype, self._weights, examples, self.count_chunks)
        return PlannedStep(planner, self._reserve, self.run, self.lay_out_frames)

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """See `Executor.take_frames`: steps read them as they are, and lay out what they must."""
        # Asking first takes half as long as operators that find nothing to do.
        return [
            frame
            if frame.is_cpu and frame.dtype == torch.float32 and frame.is_contiguous()
            else frame.to(self.device, torch.float32).contiguous()
            for frame in frames
        ]

    def lay_out_frames(self, frames: Tensor, to: Tensor) -> None:
        """Copy frames (slots, C, H, W) into a tensor of the executor's precision and layout."""
        if not is_in_planes(frames) or frames.shape[1] != 3:
            with torch.inference_mode():
                to.copy_(frames)
            return
        area = frames.shape[2] * frames.shape[3]
        self._library.co3d_lay_out_frames(
            frames.data_ptr(), to.data_ptr(), frames.shape[0], area, self._is_half
        )

    def hold(self, elements: Sequence[Sequence[Tensor]]) -> Rings:
        """See `Executor.hold`."""
        return Rings(elements, self._reserve, self._library)

    def count_chunks(self, operation: Operation) -> int:
        """In how many chunks the kernels run an operation."""
        return self._library.co3d_count_chunks(ctypes.byref(operation), self._is_half)

    def run(self, operations: NativeSteps, buffers: Any) -> None:
        """Run native operations on a table of addresses."""
        self._library.co3d_run(
            operations.operations, operations.count, buffers, self._threads, self._is_half
        )
