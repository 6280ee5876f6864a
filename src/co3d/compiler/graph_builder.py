"""Builds a graph: calls, constants, the size of the batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn


class GraphBuilder:
    """Base of graph builders for rules; see `co3d.compiler.rules.registry.Builder`.

    Attributes:
        graph, root: the graph, and the module that has its constants.
        frames: the graph's inputs that are frames; set by the subclass.
    """

    def __init__(self) -> None:
        self.graph, self.root = fx.Graph(), nn.Module()
        self.frames: list[fx.Node] = []
        self._constants: dict[int, tuple[Tensor, fx.Node]] = {}
        self._batch: fx.Node | None = None

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a function call to the graph."""
        return self.graph.call_function(target, args, kwargs)

    def constant(self, tensor: Tensor) -> fx.Node:
        """Intern a constant: the same tensor object is stored once."""
        if id(tensor) not in self._constants:
            name = f"constant{len(self._constants)}"
            self.root.register_buffer(name, tensor)
            # The tensor is kept, so that its id is not reused.
            self._constants[id(tensor)] = (tensor, self.graph.get_attr(name))
        return self._constants[id(tensor)][1]

    def batch_size(self) -> fx.Node:
        """Number of streams or clips in the batch."""
        if self._batch is None:
            self._batch = self.call(torch.ops.aten.sym_size.int, self.frames[0], 0)
        return self._batch

    def finish(self, outputs: tuple[Any, ...], name: str) -> fx.GraphModule:
        """The graph module with these outputs, without nodes that they do not need."""
        self.graph.output(outputs)
        self.graph.eliminate_dead_code()
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph, name)
