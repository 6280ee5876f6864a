"""Runs one graph, for inputs of fixed shapes, as one CUDA graph launch."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from co3d.backends.contract import Executor, make_map
from co3d.backends.triton_gpu.capture import Recorder, Run
from co3d.backends.triton_gpu.fused_graph import FusedGraph
from co3d.backends.triton_gpu.launches import Launcher
from co3d.backends.triton_gpu.operand import Operand


class SingleGraph:
    """Runs a graph on tensors; see `co3d.backends.contract.StepFunction`.

    Args:
        graph: the graph to run.
        examples: one tensor per input, of its shape.
        executor: gives device, precision and memory layout.
        launcher: launches the graph's kernels.

    Attributes:
        graph: the same.
    """

    def __init__(
        self,
        graph: FusedGraph,
        examples: Sequence[Tensor],
        executor: Executor,
        launcher: Launcher,
    ) -> None:
        self.graph, self._device = graph, executor.device
        layout = executor.map_layout
        self._inputs = [
            make_map(
                x.shape,
                executor.dtype if x.is_floating_point() else x.dtype,
                executor.device,
                layout,
            ).zero_()
            for x in examples
        ]
        self._newest: list[Tensor | None] = []
        for node in graph.plan.newest:
            value = None if node is None else graph.plan.values[node]
            self._newest.append(
                None
                if value is None
                else make_map(value.shape, value.dtype, executor.device, layout)
            )
        self._operands = (
            [Operand(tensor) for tensor in self._inputs],
            [None if tensor is None else Operand(tensor) for tensor in self._newest],
        )
        self._lock = threading.Lock()
        self._recorder = Recorder(executor.device)
        self._recorded: Run | None = None
        with self._on_device():
            launcher.compile_kernels(self._run)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor | None]:
        """The graph's results and newest elements, new tensors."""
        with self._lock, self._on_device():
            for to, given in zip(self._inputs, inputs, strict=True):
                to.copy_(given)
            if self._recorded is None:
                self._recorded = self._recorder.record(self._run)
            return [None if made is None else made.clone() for made in self._recorded()]

    def _run(self) -> list[Tensor | None]:
        return [*self.graph.run(*self._operands), *self._newest]

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        device = torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
        with torch.inference_mode(), device:
            yield
