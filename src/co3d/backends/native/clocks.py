"""Caches the values of a step graph that depend on clocks alone, such as masks, per stream age."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

MOST_KEPT = 512
"""Entries of the cache, of some kilobytes each. Few ages occur at the start of videos; at their
ends as many occur as videos have lengths."""


class Known(NamedTuple):
    """The values for one setting of the clocks.

    Attributes:
        values: the value of each node. held: those that kernels read, in the order of their
            buffers.
        addresses: the addresses of `held`.
    """

    values: dict[fx.Node, Any]
    held: list[Tensor]
    addresses: list[int]


class ClockValues:
    """Computes the nodes that depend on clocks alone, and caches them for slots of the same age.

    Args:
        graph: the step graph. clocks: its inputs that are clocks.
        nodes: those that depend on clocks alone, in order.
        read: the nodes that kernels read, with the dtype that the kernels expect.

    Attributes:
        inputs: the graph's inputs that are clocks.
    """

    def __init__(
        self,
        graph: fx.GraphModule,
        clocks: Sequence[fx.Node],
        nodes: Sequence[fx.Node],
        read: Mapping[fx.Node, torch.dtype],
    ) -> None:
        self.inputs = clocks
        self._graph, self._nodes, self._read = graph, nodes, read
        self._known: dict[tuple[tuple[int, ...], ...], Known] = {}

    def find(self, clocks: tuple[tuple[int, ...], ...]) -> Known:
        """The values for these clocks: per clock, one number per slot."""
        known = self._known.get(clocks)
        if known is None:
            if len(self._known) >= MOST_KEPT:
                self._known = {}
            known = self._known[clocks] = self._compute(clocks)
        return known

    def _compute(self, clocks: tuple[tuple[int, ...], ...]) -> Known:
        values: dict[fx.Node, Any] = {
            node: torch.tensor(numbers) for node, numbers in zip(self.inputs, clocks, strict=True)
        }

        def find(node: fx.Node) -> Any:
            return values[node] if node in values else getattr(self._graph, str(node.target))

        with torch.inference_mode():
            for node in self._nodes:
                args, kwargs = fx.map_arg((node.args, node.kwargs), find)
                values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
            held = [values[node].to(dtype).contiguous() for node, dtype in self._read.items()]
        return Known(values, held, [tensor.data_ptr() for tensor in held])
