"""Step graphs in another precision, on another device."""

import torch
from torch import Tensor, fx


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
