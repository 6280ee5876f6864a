"""The native backend: step graphs through co3d's own kernels, PyTorch for what has none."""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.backends.contract import Executable, StepFunction, list_examples, list_graphs
from co3d.backends.fusion.plan import FusedPlan, plan_graph
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.native.exchange import plan_exchange
from co3d.backends.native.executable import NativeExecutable
from co3d.backends.native.library import load_library
from co3d.backends.native.memory import Reserve
from co3d.backends.native.operation import Operation
from co3d.backends.native.plan import NativeSteps, Planner
from co3d.backends.native.planes import is_in_planes
from co3d.backends.native.state import StateLayout
from co3d.backends.native.step import PlannedStep, PreparedStep
from co3d.backends.native.weights import WeightPacker
from co3d.compiler.program import Program


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
        self.library = load_library()
        self.threads = threads
        self.is_half = dtype == torch.bfloat16
        self._reserve = Reserve()
        self._weights = WeightPacker(
            self._reserve,
            self.library.co3d_lanes(),
            self.library.co3d_dense_depth() if self.is_half else 1,
            self.library.co3d_depthwise_depth() if self.is_half else 1,
        )
        self._place = Placement(dtype, self.device)
        self.description = f"native, {precision} on cpu, {threads} threads"

    def load(self, program: Program[Any]) -> Executable:
        """See `Executor.load`."""
        layout = StateLayout(program.states, self.dtype)
        prepared = {}
        for key, graph in list_graphs(program).items():
            examples = list_examples(
                program,
                self,
                1,
                is_masked=key[1],
                frame_layout=torch.contiguous_format,
                frame_dtype=torch.float32,
            )
            step, fused = self._prepare(graph, examples, len(program.output_shapes))
            first_element = len(examples) - layout.elements
            updates = program.phases[key[0]].updates
            exchange = plan_exchange(fused, first_element, layout.depths, updates, layout.sizes)
            prepared[key] = step, exchange
        return NativeExecutable(program, self, prepared, layout, self._reserve)

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`."""
        prepared, _ = self._prepare(graph, examples, results)
        return self.bind_workspace(prepared, self._reserve.take(prepared.plan.workspace_bytes))

    def bind_workspace(self, prepared: PreparedStep, workspace: Tensor) -> PlannedStep:
        """A step that keeps its intermediate maps in a workspace."""
        return PlannedStep(prepared, workspace, self.run, self.lay_out_frames, self.threads)

    def _prepare(
        self, graph: StepGraph, examples: Sequence[Tensor], results: int
    ) -> tuple[PreparedStep, FusedPlan]:
        assert not isinstance(graph, StoredGraph)
        fused = plan_graph(self._place(graph), graph, examples, self.dtype, results, pools=True)
        planner = Planner(fused, self.dtype, self._weights, examples, self.count_chunks)
        return PreparedStep(planner), fused

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """See `Executor.take_frames`: steps read them as they are, and lay out what they must."""
        # Asking first takes half as long as operators that find nothing to do.
        return [
            frame
            if frame.is_cpu
            and frame.dtype == torch.float32
            and frame.is_contiguous()
            and not frame.is_neg()
            else frame.to(self.device, torch.float32).resolve_neg().contiguous()
            for frame in frames
        ]

    def lay_out_frames(self, frames: Tensor, to: Tensor) -> None:
        """Copy frames (slots, C, H, W) into a tensor of the executor's precision and layout."""
        if not is_in_planes(frames) or frames.shape[1] != 3:
            with torch.inference_mode():
                to.copy_(frames)
            return
        area = frames.shape[2] * frames.shape[3]
        self.library.co3d_lay_out_frames(
            frames.data_ptr(), to.data_ptr(), frames.shape[0], area, self.is_half
        )

    def count_chunks(self, operation: Operation) -> int:
        """In how many chunks the kernels run an operation."""
        return self.library.co3d_count_chunks(ctypes.byref(operation), self.is_half)

    def run(self, operations: NativeSteps, buffers: Any) -> None:
        """Run native operations on a table of addresses.

        A caller that steps other slots meanwhile leaves this one fewer threads with
        `torch.set_num_threads`, which counts for its own thread alone.
        """
        threads = min(self.threads, torch.get_num_threads())
        self.library.co3d_run(
            operations.operations, operations.count, buffers, threads, self.is_half
        )
