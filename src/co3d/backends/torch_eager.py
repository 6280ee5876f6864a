"""The reference backend: the step graphs as PyTorch runs them, operator by operator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from co3d.backends.contract import StepFunction, copy_map, detach_results
from co3d.backends.elements import Elements
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph


class TorchExecutor:
    """Runs step graphs eagerly. Maps lie in memory with channels last, as the weights do."""

    map_layout = torch.channels_last

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self.output_dtype = torch.promote_types(dtype, torch.float32)
        self.device = device
        name = str(dtype).removeprefix("torch.")
        self.description = f"torch (eager), {name} on {device}"
        self._place = Placement(dtype, device)

    def compile(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> StepFunction:
        """See `Executor.compile`; eager graphs take any inputs."""
        del examples
        assert not isinstance(graph, StoredGraph)
        placed, dtype = self._place(graph), self.output_dtype

        def run(inputs: Sequence[Tensor]) -> list[Tensor | None]:
            made = placed(*inputs)
            newest = made[results:]
            return [*detach_results(made[:results], (*inputs, *newest), dtype), *newest]

        return run

    def take_frames(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """See `Executor.take_frames`."""
        return [copy_map(frame, self) for frame in frames]

    def hold(self, elements: Sequence[Sequence[Tensor]]) -> Elements:
        """See `Executor.hold`; PyTorch's allocator takes back what nobody refers to any more."""
        return Elements(elements, lambda _: None)
