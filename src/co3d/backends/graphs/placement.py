"""Converts step graphs to another precision and device."""

import torch
from torch import Tensor, fx


class Placement:
    """Converts the weights of graphs to a dtype and device; shared weights stay shared."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._placed: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, graph: fx.GraphModule) -> fx.GraphModule:
        """The converted graph; the graph itself where there is nothing to convert."""
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
            # The tensor is kept alive, so that its id is not reused.
            self._placed[id(tensor)] = (tensor, tensor.to(self._device, dtype))
        return self._placed[id(tensor)][1]
