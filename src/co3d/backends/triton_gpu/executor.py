"""The triton backend: runs step graphs with co3d's own GPU kernels."""

from collections.abc import Sequence
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
from torch import Tensor

from co3d.backends.contract import Executable, list_examples, list_graphs
from co3d.backends.fusion.plan import plan_graph
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.torch_eager import TorchExecutor
from co3d.backends.triton_gpu.executable import TritonExecutable
from co3d.backends.triton_gpu.fused_graph import FusedGraph
from co3d.backends.triton_gpu.launches import Launcher
from co3d.backends.triton_gpu.single_graph import SingleGraph
from co3d.compiler.program import Program

# The batch size for which step graphs are planned. Networks have no axis of this prime size, so an
# axis of this size in the plan is the batch, and the plan holds for any batch size.
ANY_SLOTS = 1009


class TritonExecutor:
    """Runs fused groups of operators, one kernel each, and a whole step per CUDA graph launch.

    Maps are NHWC. Convolutions multiply in the precision in which maps are stored and accumulate in
    float32; everything else is computed in float32.
    """

    output_dtype = torch.float32
    map_layout = torch.channels_last

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        processors, name = 1, str(device)
        if device.type == "cuda":
            properties = torch.cuda.get_device_properties(device)
            processors, name = properties.multi_processor_count, properties.name
        self._launcher = Launcher(device, dtype, processors)
        self._place = Placement(dtype, device)
        precision = str(dtype).removeprefix("torch.")
        self.description = f"triton {triton.__version__}, {precision} on {name}"

    def load(self, program: Program[Any]) -> Executable:
        """See `Executor.load`.

        Kernels for one slot are compiled here; those for larger batches when a batch of that size
        first steps. Triton caches all of them on disk. Programs whose graphs hold for one batch
        size alone are run by PyTorch.
        """
        if program.graph_slots is not None:
            threads = torch.get_num_threads()
            return TorchExecutor(self.dtype, self.device, threads).load(program)
        graphs: dict[tuple[int, bool], FusedGraph] = {}
        for key, graph in list_graphs(program).items():
            alone = list_examples(
                program,
                self,
                1,
                is_masked=key[1],
                frame_layout=self.map_layout,
                frame_dtype=self.dtype,
            )
            # Expanded views, which take no memory.
            examples = [x.expand(ANY_SLOTS, *x.shape[1:]) for x in alone]
            graphs[key] = self._fuse(graph, examples, len(program.output_shapes))
        return TritonExecutable(program, graphs, self, self._launcher)

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> SingleGraph:
        """See `Executor.compile`; Triton caches compiled kernels on disk."""
        placed = [example.to(self.device) for example in examples]
        return SingleGraph(self._fuse(graph, placed, results), placed, self, self._launcher)

    def _fuse(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> FusedGraph:
        assert not isinstance(graph, StoredGraph)
        plan = plan_graph(self._place(graph), graph, examples, self.dtype, results)
        return FusedGraph(plan, self._launcher)
