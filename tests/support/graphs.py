"""Step graphs written down as functions."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx


def trace(weights: Sequence[Tensor], inputs: int, forward: Callable[..., Any]) -> fx.GraphModule:
    """The graph of `forward(weights, inputs)`, with a tuple of outputs, as step graphs have."""
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    root = {f"w{i}": weight for i, weight in enumerate(weights)}
    proxies = [fx.Proxy(graph.placeholder(f"x{i}"), tracer) for i in range(inputs)]
    constants = [fx.Proxy(graph.get_attr(name), tracer) for name in root]
    made = forward(constants, proxies)
    outputs = made if isinstance(made, tuple) else (made,)
    graph.output(tuple(output.node for output in outputs))
    return fx.GraphModule(root, graph)
