"""Step graphs written down as functions."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, fx

aten = torch.ops.aten
ACTIVATIONS = (None, aten.relu.default, aten.silu.default, aten.sigmoid.default)


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


def activate(value: Tensor, activation: Callable[[Tensor], Tensor] | None) -> Tensor:
    """The activation of a value, if it has one."""
    return value if activation is None else activation(value)


def draw_dense_convolution(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    inputs: int,
    outputs: int,
    height: int,
    width: int,
) -> tuple[fx.GraphModule, list[Tensor]] | None:
    """A dense convolution of some maps, with what may follow it, and what it takes.

    None where no map of this width has room for the kernel.
    """
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 5), (2, 3)]))
    options = {
        "stride": draw(st.sampled_from([(1, 1), (2, 2), (2, 1)])),
        "padding": tuple(k // 2 for k in kernel),
        "dilation": draw(st.sampled_from([(1, 1), (1, 2)])),
    }
    activation = draw(st.sampled_from(ACTIVATIONS))
    sources = draw(st.integers(1, 3))
    torch.manual_seed(0)
    weight = torch.randn(outputs, inputs * sources, *kernel)
    if width + 2 * options["padding"][1] < options["dilation"][1] * (kernel[1] - 1) + 1:
        return None
    bias = torch.randn(outputs)
    like = torch.conv2d(torch.zeros(2, inputs * sources, height, width), weight, bias, **options)
    adds = draw(st.booleans())

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        source = torch.cat(list(x[:sources]), 1) if sources > 1 else x[0]
        made = torch.conv2d(source, w[0], w[1], **options)
        return activate(torch.add(x[-1], made) if adds else made, activation)

    tensors = [torch.randn(2, inputs, height, width) for _ in range(sources)]
    tensors += [torch.randn(like.shape)] * adds
    return trace([weight, bias], len(tensors), forward), tensors
