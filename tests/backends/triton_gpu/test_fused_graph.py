"""Every kernel, with every fusion, equals the operators that it replaces.

Tolerances are relative L2 errors. In float32 the order of sums differs, and a GPU multiplies by
three TF32 products. The shorter precisions round sources and weights as the reference does, but
keep sums and values between fused operators in float32.
"""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from co3d.backends.fusion.groups import Select, View
from co3d.backends.fusion.plan import FusedPlan
from support.gpu import DEVICE, TESTED, open_executor
from support.graphs import ACTIVATIONS, activate, draw_dense_convolution, trace
from support.streaming import relative_error

pytestmark = pytest.mark.slow
aten = torch.ops.aten
TOLERANCES = {"float32": 2e-6, "bfloat16": 1e-2, "float16": 2e-3}
precisions = st.sampled_from(TESTED)
channel_counts = st.sampled_from([1, 3, 8, 16, 17, 54, 70])
sides = st.sampled_from([1, 2, 5, 9])
POINT = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


def check(graph: fx.GraphModule, inputs: Sequence[Tensor], precision: str) -> list[fx.Node]:
    """Compare all outputs with the graph's own; return the nodes that PyTorch computed."""
    executor = open_executor(precision)
    placed = [x.to(executor.device, executor.dtype) for x in inputs]
    step = executor.compile(graph, placed, 0)
    expected = fx.GraphModule(
        {name: tensor.to(executor.dtype).double() for name, tensor in graph.named_buffers()},
        graph.graph,
    )(*[x.cpu().double() for x in placed])
    for actual, wanted in zip(step(placed), expected, strict=True):
        assert actual is not None
        assert actual.shape == wanted.shape
        assert relative_error(actual.cpu().double(), wanted) < TOLERANCES[precision]
    plan: FusedPlan = step.graph.plan  # type: ignore[attr-defined]
    unlaunched = (Select, View, type(None))
    return [node for node in plan.order if isinstance(plan.groups.get(node), unlaunched)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), precisions, channel_counts, channel_counts, sides, sides)
def test_dense_convolutions(
    data: st.DataObject, precision: str, inputs: int, outputs: int, height: int, width: int
) -> None:
    drawn = draw_dense_convolution(data.draw, inputs, outputs, height, width)
    if drawn is not None:
        assert not check(*drawn, precision)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), precisions, channel_counts, sides, sides)
def test_depthwise_sums(
    data: st.DataObject, precision: str, channels: int, height: int, width: int
) -> None:
    kernel = data.draw(st.sampled_from([(1, 1), (3, 3), (1, 5)]))
    options = {
        "stride": data.draw(st.sampled_from([(1, 1), (2, 2)])),
        "padding": tuple(k // 2 for k in kernel),
        "groups": channels,
    }
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    sources = data.draw(st.integers(1, 3))
    has_bias, adds = data.draw(st.booleans()), data.draw(st.booleans())
    torch.manual_seed(0)
    weights = [torch.randn(channels, 1, *kernel) for _ in range(sources)]
    bias = torch.randn(channels)
    plain = {**options, "groups": 1}
    like = torch.conv2d(torch.zeros(2, 1, height, width), torch.zeros(1, 1, *kernel), **plain)

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.conv2d(x[0], w[0], w[-1] if has_bias else None, **options)
        for i in range(1, sources):
            made = torch.add(made, torch.conv2d(x[i], w[i], **options))
        return activate(torch.add(x[-1], made) if adds else made, activation)

    tensors = [torch.randn(2, channels, height, width) for _ in range(sources)]
    tensors += [torch.randn(2, channels, *like.shape[2:])] * adds
    left = check(trace([*weights, bias], len(tensors), forward), tensors, precision)
    # With one channel, a depthwise convolution is a dense one.
    assert channels == 1 or not left


@pytest.mark.parametrize("precision", TESTED)
@pytest.mark.parametrize("channels", [8, 54, 432])
@pytest.mark.parametrize("is_read_twice", [False, True])
def test_squeeze_and_excitation(precision: str, channels: int, is_read_twice: bool) -> None:
    """It is one kernel if nothing else reads the intermediate values, else three."""
    torch.manual_seed(0)
    hidden = max(8, channels // 16)
    shapes = [(channels, 1, 3, 3), (hidden, channels, 1, 1), (hidden,)]
    shapes += [(channels, hidden, 1, 1), (channels,), (24, channels, 1, 1), (24,)]
    weights = [torch.randn(shape) / shape[-1] for shape in shapes]

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        made = torch.conv2d(x[0], w[0], None, padding=(1, 1), groups=channels)
        mean = torch.mean(made, (2, 3), keepdim=True)
        middle = aten.relu.default(torch.conv2d(mean, w[1], w[2]))
        gate = aten.sigmoid.default(torch.conv2d(middle, w[3], w[4]))
        gated = aten.silu.default(torch.mul(made, gate))
        out = torch.conv2d(gated, w[5], w[6])
        return (out, middle) if is_read_twice else out

    graph = trace(weights, 1, forward)
    assert not check(graph, [torch.randn(2, channels, 7, 5)], precision)
    example = torch.randn(2, channels, 7, 5, device=DEVICE)
    fused = open_executor(precision).compile(graph, [example], 1)
    assert bool(fused.graph.fused_gates) is not is_read_twice  # type: ignore[attr-defined]


@pytest.mark.parametrize("outputs", [5, 32, 64])
def test_two_linear_layers_of_a_mean_that_are_no_gate(outputs: int) -> None:
    """A classifier of pooled features may have any number of outputs."""
    torch.manual_seed(0)
    shapes = [(32, 1, 3, 3), (16, 32, 1, 1), (outputs, 16, 1, 1)]
    weights = [torch.randn(shape) / shape[-1] for shape in shapes]

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.conv2d(x[0], w[0], None, padding=(1, 1), groups=32)
        mean = torch.mean(made, (2, 3), keepdim=True)
        return torch.conv2d(aten.relu.default(torch.conv2d(mean, w[1], None)), w[2], None)

    assert not check(trace(weights, 1, forward), [torch.randn(2, 32, 4, 3)], "float32")


@pytest.mark.parametrize("side", [7, 8])
def test_pools_of_many_pixels(side: int) -> None:
    """The loop over pixels is unrolled up to 49 of them, and not beyond."""
    maps = [torch.randn(2, 20, side + 1, side + 1)]
    graph = trace([], 1, lambda _, x: F.avg_pool2d(x[0], (side, side), (1, 1)))
    assert not check(graph, maps, "float32")


@pytest.mark.parametrize("precision", TESTED)
def test_sums_of_the_same_inputs(precision: str) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(20, 1, 3, 3) for _ in range(3)]
    options = {"stride": (2, 2), "padding": (1, 1), "groups": 20}

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        first, second, third = (torch.conv2d(x[0], w[i], None, **options) for i in range(3))
        return torch.add(torch.add(x[1], first), x[2]), second, third

    maps = [torch.randn(2, 20, 9, 7), torch.randn(2, 20, 5, 4), torch.randn(2, 20, 5, 4)]
    assert not check(trace(weights, 3, forward), maps, precision)


@pytest.mark.parametrize("precision", TESTED)
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_linear_layers(precision: str, batch: int) -> None:
    """Few vectors are multiplied one by one, many in tiles."""
    torch.manual_seed(0)
    weight, bias = torch.randn(37, 300) / 17, torch.randn(37)

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return aten.relu.default(F.linear(x[0], w[0], w[1]))

    assert not check(trace([weight, bias], 1, forward), [torch.randn(batch, 300)], precision)


@pytest.mark.parametrize("precision", TESTED)
def test_pools_over_space_and_time(precision: str) -> None:
    torch.manual_seed(0)

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        del w
        pooled = F.avg_pool2d(x[0], (3, 2), (2, 2))
        return pooled, torch.mul(torch.sum(torch.stack([x[0], x[1], x[2]]), 0), 1 / 3)

    maps = [torch.randn(2, 20, 7, 6) for _ in range(3)]
    assert not check(trace([], 3, forward), maps, precision)


def test_nan_propagates() -> None:
    weight = torch.ones(4, 4, 1, 1)

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return aten.relu.default(torch.conv2d(x[0], w[0]))

    executor = open_executor("float32")
    spoiled = torch.zeros(1, 4, 2, 2, device=executor.device)
    spoiled[0, 0, 0, 0] = torch.nan
    (made,) = executor.compile(trace([weight], 1, forward), [spoiled], 0)([spoiled])
    assert made is not None
    assert made[0, :, 0, 0].isnan().all()
    assert not made[0, :, 1].isnan().any()
