"""The native backend: co3d's own CPU kernels, and PyTorch for operators without a kernel."""

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
from co3d.backends.native.memory import HugePageAllocator
from co3d.backends.native.nchw import is_nchw
from co3d.backends.native.operation import Operation
from co3d.backends.native.plan import NativeSteps, Planner
from co3d.backends.native.state import StateLayout
from co3d.backends.native.step import PlannedStep, PreparedStep
from co3d.backends.native.weights import WeightPacker
from co3d.compiler.program import Program


class NativeExecutor:
    """Runs fused groups of operators, one kernel each, in PyTorch's OpenMP threads.

    Feature maps are NHWC in memory. In bfloat16, convolutions multiply pairs of bfloat16 numbers
    and accumulate in float32 where the processor can; everything else is computed in float32 and
    stored in bfloat16.
    """

    output_dtype = torch.float32
    device = torch.device("cpu")
    map_layout = torch.channels_last

    def __init__(self, precision: str, dtype: torch.dtype, threads: int) -> None:
        self.dtype = dtype
        self.library = load_library()
        self.threads = threads
        self.is_bfloat16 = dtype == torch.bfloat16
        self._allocator = HugePageAllocator()
        self._weights = WeightPacker(
            self._allocator,
            self.library.co3d_lanes(),
            self.library.co3d_dense_depth() if self.is_bfloat16 else 1,
            self.library.co3d_depthwise_depth() if self.is_bfloat16 else 1,
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
            first_element = len(examples) - layout.elements
            step, fused = self._prepare(graph, examples, len(program.output_shapes), first_element)
            updates = program.phases[key[0]].updates
            exchange = plan_exchange(fused, first_element, layout.depths, updates, layout.sizes)
            prepared[key] = step, exchange
        return NativeExecutable(program, self, prepared, layout, self._allocator)

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`."""
        prepared, _ = self._prepare(graph, examples, results)
        return self.bind_workspace(prepared, self._allocator.take(prepared.plan.workspace_bytes))

    def bind_workspace(self, prepared: PreparedStep, workspace: Tensor) -> PlannedStep:
        """Bind a step to the workspace that holds its intermediate maps."""
        return PlannedStep(prepared, workspace, self.run, self.lay_out_frames, self.threads)

    def _prepare(
        self,
        graph: StepGraph,
        examples: Sequence[Tensor],
        results: int,
        given: int | None = None,
    ) -> tuple[PreparedStep, FusedPlan]:
        assert not isinstance(graph, StoredGraph)
        fused = plan_graph(
            self._place(graph), graph, examples, self.dtype, results, given=given, pools=True
        )
        planner = Planner(fused, self.dtype, self._weights, examples, self.count_chunks)
        return PreparedStep(planner), fused

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """Frames in NCHW, contiguous float32 on the CPU; copied only where they are not so yet."""
        # These checks take half as long as calling operators that then change nothing.
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
        """Copy frames (slots, C, H, W) to `to`, in the executor's precision and NHWC."""
        if not is_nchw(frames) or frames.shape[1] != 3:
            with torch.inference_mode():
                to.copy_(frames)
            return
        area = frames.shape[2] * frames.shape[3]
        self.library.co3d_lay_out_frames(
            frames.data_ptr(), to.data_ptr(), frames.shape[0], area, self.is_bfloat16
        )

    def count_chunks(self, operation: Operation) -> int:
        """The number of chunks that the kernels split an operation into."""
        return self.library.co3d_count_chunks(ctypes.byref(operation), self.is_bfloat16)

    def run(self, operations: NativeSteps, buffers: Any) -> None:
        """Run native operations on a table of buffer addresses.

        `torch.set_num_threads` in the calling thread lowers the number of threads, so that several
        threads can step slots at a time.
        """
        threads = min(self.threads, torch.get_num_threads())
        self.library.co3d_run(
            operations.operations, operations.count, buffers, threads, self.is_bfloat16
        )
