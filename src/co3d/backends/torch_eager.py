"""The reference backend: PyTorch runs step graphs eagerly, operator by operator."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.backends.contract import Executable, detach_results
from co3d.backends.graph_executable import BindGraph, GraphExecutable, GraphExecutor
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.threads import limit_threads
from co3d.compiler.program import Program


class TorchExecutor(GraphExecutor):
    """Runs step graphs eagerly. Maps and weights have channels last in memory."""

    map_layout = torch.channels_last

    def __init__(self, dtype: torch.dtype, device: torch.device, threads: int) -> None:
        self.dtype, self._threads = dtype, threads
        self.output_dtype = torch.promote_types(dtype, torch.float32)
        self.device = device
        name = str(dtype).removeprefix("torch.")
        self.description = f"torch (eager), {name} on {device}"
        self._place = Placement(dtype, device)

    def prepare(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> BindGraph:
        """See `GraphExecutor.prepare`; eager graphs take any inputs."""
        del examples
        assert not isinstance(graph, StoredGraph)
        placed, dtype, threads = self._place(graph), self.output_dtype, self._threads

        def run(inputs: Sequence[Tensor]) -> list[Tensor | None]:
            with limit_threads(threads):
                made = placed(*inputs)
            newest = made[results:]
            return [*detach_results(made[:results], (*inputs, *newest), dtype), *newest]

        return lambda _: run

    def load(self, program: Program[Any]) -> Executable:
        """See `Executor.load`.

        On a CPU slots step one by one, because a batch takes as long. On a GPU they step as one
        batch, because launching kernels takes most of the time.
        """
        if self.device.type == "cpu":
            return super().load(program)
        return GraphExecutable(program, self, program.graph_slots)
