"""One kernel computes all taps of a temporal convolution, and the sums that they are part of."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from support.graphs import trace
from support.kernel_checks import TOLERANCES, assert_one_kernel, run_both

aten = torch.ops.aten


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [8, 54])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (3, 1), (5, 2), (1, 1)])
@pytest.mark.parametrize("side", [5, 12, 27])
def test_one_kernel_computes_all_taps_of_a_map(
    dtype: torch.dtype, channels: int, kernel: int, stride: int, side: int
) -> None:
    """Two taps are stored as state; the third is added to stored taps of two earlier frames."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        options = {
            "stride": (stride,) * 2,
            "padding": (kernel // 2,) * 2,
            "groups": channels,
        }
        taps = [torch.conv2d(x[0], w[i], w[3] if i == 1 else None, **options) for i in range(3)]
        made = aten.relu.default(torch.add(torch.add(taps[2], x[1]), x[2]))
        return made, torch.mean(made, [2, 3], True), taps[0], taps[1]

    torch.manual_seed(0)
    weights = [torch.randn(channels, 1, kernel, kernel) for _ in range(3)]
    graph = trace([*weights, torch.randn(channels)], 3, forward)
    after = (side - 1) // stride + 1
    maps = [torch.randn(2, channels, size, size) for size in (side, after, after)]
    assert_one_kernel(run_both(graph, maps, dtype), 2)


def test_a_convolution_that_is_added_to_itself() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.conv2d(x[0], w[0], w[1], groups=8)
        return torch.add(made, made)

    torch.manual_seed(0)
    graph = trace([torch.randn(8, 1, 3, 3), torch.randn(8)], 1, forward)
    run_both(graph, [torch.randn(1, 8, 9, 9)], torch.float32)


def test_the_same_weights_for_two_sums_and_for_one() -> None:
    """With more than one vector of channels, the orders of packed weights differ."""

    def two_sums(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        first, second = (torch.conv2d(x[0], w[i], None, groups=40) for i in range(2))
        return torch.add(second, x[1]), first

    def one_sum(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return torch.add(*(torch.conv2d(x[0], w[i], None, groups=40) for i in (1, 0)))

    torch.manual_seed(0)
    weights = [torch.randn(40, 1, 3, 3) for _ in range(2)]
    maps = [torch.randn(1, 40, 9, 9), torch.randn(1, 40, 7, 7)]
    for forward in (two_sums, one_sum):
        run_both(trace(weights, 2, forward), maps, torch.float32)


def test_a_tap_that_is_read_early_has_its_own_kernel() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        first, second = (torch.conv2d(x[0], w[i], None, groups=8) for i in range(2))
        seen = aten.relu.default(first)
        return torch.add(second, x[1]), first, torch.add(seen, x[1])

    torch.manual_seed(0)
    graph = trace([torch.randn(8, 1, 3, 3) for _ in range(2)], 2, forward)
    nodes = list(graph.graph.nodes)
    relu = next(node for node in nodes if node.target is aten.relu.default)
    assert nodes.index(relu) < next(i for i, n in enumerate(nodes) if n.target is torch.add)
    maps = [torch.randn(1, 8, 9, 9), torch.randn(1, 8, 7, 7)]
    assert_one_kernel(run_both(graph, maps, torch.float32), 4)
