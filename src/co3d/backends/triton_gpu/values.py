"""The values of one run of a step graph, in the forms that kernels and PyTorch's operators take."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.contract import make_map
from co3d.backends.fusion.groups import View
from co3d.backends.fusion.plan import FusedPlan
from co3d.backends.triton_gpu.operand import Operand


class Values:
    """The values of a graph's nodes that are computed so far.

    Args:
        plan: the graph.
        inputs: the values of its inputs.
        targets: where kernels write some values, such as elements of state; other values are
            written to new tensors.
    """

    def __init__(
        self, plan: FusedPlan, inputs: Sequence[Operand], targets: Mapping[fx.Node, Operand]
    ) -> None:
        self._plan, self._targets = plan, targets
        self._values: dict[fx.Node, Any] = dict(zip(plan.inputs, inputs, strict=True))
        # Contiguous copies of values in pools.
        self._copies: dict[fx.Node, Tensor] = {}

    def read(self, node: fx.Node) -> Any:
        """A value for PyTorch's operators: a tensor (N, …), or a number."""
        if node.op == "get_attr":
            return getattr(self._plan.graph, str(node.target))
        group = self._plan.groups.get(node)
        if isinstance(group, View):
            source = self.read(group.source)
            return source.reshape(source.shape[0], *self._plan.values[node].shape[1:])
        value = self._values[node]
        if not isinstance(value, Operand):
            return value
        if node not in self._copies:
            self._copies[node] = value.read()
        return self._copies[node]

    def locate(self, node: fx.Node) -> Operand:
        """A value for kernels."""
        group = self._plan.groups.get(node)
        if isinstance(group, View):
            source = self.locate(group.source)
            shape = (source.tensor.shape[0], *self._plan.values[node].shape[1:])
            return Operand(source.tensor.reshape(shape), source.rows)
        value = self._values.get(node)
        return value if isinstance(value, Operand) else Operand(_lay_out(self.read(node)))

    def make(self, node: fx.Node, like: Operand | Tensor) -> Operand:
        """Where a kernel writes a value: its target, or a new tensor with the batch of `like`."""
        operand = self._targets.get(node)
        if operand is None:
            value = self._plan.values[node]
            device = (like.tensor if isinstance(like, Operand) else like).device
            shape = (like.shape[0], *value.shape[1:])
            operand = Operand(make_map(shape, value.dtype, device, torch.channels_last))
        self._values[node] = operand
        return operand

    def put(self, node: fx.Node, value: Any) -> None:
        """Set a value that a PyTorch operator has made."""
        self._values[node] = value

    def lies_at(self, node: fx.Node, target: Operand) -> bool:
        """Whether a kernel has written the value to this target."""
        return self._values.get(node) is target

    def drop(self, node: fx.Node) -> None:
        """Drop a value that nothing reads any more."""
        self._values.pop(node, None)
        self._copies.pop(node, None)


def _lay_out(value: Tensor) -> Tensor:
    """The value in the kernels' layout: channels last for maps, contiguous otherwise."""
    if value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()
