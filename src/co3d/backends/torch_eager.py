"""The reference backend: the step graphs as PyTorch runs them, operator by operator."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from co3d.backends.executor import StepFunction


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

    def compile(
        self, graph: fx.GraphModule, examples: Sequence[Tensor], results: int
    ) -> StepFunction:
        """See `Executor.compile`; eager graphs take any inputs."""
        del examples
        placed, dtype = self._place(graph), self.output_dtype

        def run(inputs: Sequence[Tensor]) -> list[Tensor | None]:
            made = placed(*inputs)
            outputs = [value if value is None else value.to(dtype) for value in made[:results]]
            return [*outputs, *made[results:]]

        return run

    def recycle(self, element: Tensor) -> None:
        """PyTorch's own allocator takes it back when the last reference goes."""


class Placement:
    """Puts graphs in a precision on a device; weights that they share stay shared."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._placed: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, graph: fx.GraphModule) -> fx.GraphModule:
        """The graph with its tensors placed; the graph itself where they are already."""
        tensors = dict(graph.named_buffers())
        if all(self._fits(tensor) for tensor in tensors.values()):
            return graph
        return fx.GraphModule({name: self._place(t) for name, t in tensors.items()}, graph.graph)

    def _fits(self, tensor: Tensor) -> bool:
        wanted = self._dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.dtype == wanted and tensor.device == self._device

    def _place(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._placed:
            dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
            # The tensor is kept, so that its id is not reused.
            self._placed[id(tensor)] = (tensor, tensor.to(self._device, dtype))
        return self._placed[id(tensor)][1]
