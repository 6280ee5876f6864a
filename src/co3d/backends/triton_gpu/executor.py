"""The triton backend: step graphs through co3d's own kernels on a GPU."""

from collections.abc import Sequence

import torch
import triton  # pyright: ignore[reportMissingImports]
from torch import Tensor

from co3d.backends.contract import StepFunction
from co3d.backends.fusion.plan import plan_graph
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.triton_gpu.fused_graph import FusedGraph
from co3d.backends.triton_gpu.launches import Launcher
from co3d.backends.triton_gpu.rings import Rings


class TritonExecutor:
    """Runs whole blocks of a network per kernel, and a whole step per launch.

    Maps lie in memory with channels last. Products of maps are taken in the precision that they are
    kept in, and summed in float32, in which everything else is computed.
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

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`; Triton keeps compiled kernels on disk."""
        assert not isinstance(graph, StoredGraph)
        placed = [example.to(self.device) for example in examples]
        plan = plan_graph(self._place(graph), graph, placed, self.dtype, results)
        fused = FusedGraph(plan, self.dtype, self.device, self._launcher)
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                fused.compile_kernels(placed)
        return fused

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """See `Executor.take_frames`: steps copy them to where their graphs read them."""
        return list(frames)

    def hold(self, elements: Sequence[Sequence[Tensor]]) -> Rings:
        """See `Executor.hold`."""
        return Rings(elements, self.device)
