"""Kernels also run operators in ATen's spelling, which layers of folded frames keep."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.backends.native.plan import NativeSteps, TorchStep
from co3d.compiler import convert
from co3d.compiler.program import StepProgram
from support.graphs import aten, trace
from support.kernel_checks import TOLERANCES, assert_one_kernel, open_executor, run_both

CHANNELS, SIDE = 20, 6


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "convolve",
    [
        lambda x, w: aten.conv2d.default(x, w[0]),
        lambda x, w: aten.conv2d.default(x, w[0], w[1], [2, 2], [1, 1]),
        lambda x, w: aten.conv2d.default(x, w[0], w[1], [2], [1]),
        lambda x, w: aten.conv2d.default(x, w[0], None, [1, 2], [0, 1], [1, 2], 1),
        lambda x, w: aten.conv2d.default(aten.cat.default([x, x], 1), w[2], w[1]),
        lambda x, w: aten.conv2d.default(x, w[3], w[4], [1, 1], [1, 1], [1, 1], CHANNELS),
        lambda x, w: aten.avg_pool2d.default(x, [2], []),
        lambda x, w: aten.avg_pool2d.default(x, [2, 3], [1, 1]),
    ],
)
def test_one_kernel(convolve: Callable, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weights = [
        torch.randn(8, CHANNELS, 3, 3),
        torch.randn(8),
        torch.randn(8, 2 * CHANNELS, 1, 1),
        torch.randn(CHANNELS, 1, 3, 3),
        torch.randn(CHANNELS),
    ]
    graph = trace(weights, 1, lambda w, x: aten.relu.default(convolve(x[0], w)))
    assert_one_kernel(run_both(graph, [torch.randn(1, CHANNELS, SIDE, SIDE)], dtype))


@pytest.mark.parametrize("flatten", [aten.view.default, aten.reshape.default])
def test_a_gate(flatten: Callable[[Tensor, Sequence[int]], Tensor]) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = aten.conv2d.default(x[0], w[0], None, [1, 1], [1, 1], [1, 1], CHANNELS)
        mean = flatten(aten.mean.dim(made, [2, 3], True), [1, CHANNELS])
        gate = aten.sigmoid.default(aten.linear.default(mean, w[1], w[2]))
        gated = aten.mul.Tensor(made, flatten(gate, [1, CHANNELS, 1, 1]))
        return aten.conv2d.default(gated, w[3])

    torch.manual_seed(0)
    weights = [
        torch.randn(CHANNELS, 1, 3, 3),
        torch.randn(CHANNELS, CHANNELS),
        torch.randn(CHANNELS),
        torch.randn(8, CHANNELS, 1, 1),
    ]
    graph = trace(weights, 1, forward)
    steps = run_both(graph, [torch.randn(1, CHANNELS, SIDE, SIDE)], torch.float32)
    assert_one_kernel(steps, operations=4)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: aten.avg_pool2d.default(x, [2, 2], [2, 2], [0, 0], False, True, 3),  # a divisor
        lambda x: aten.avg_pool2d.default(x, [3, 3], [1, 1], [1, 1]),
        lambda x: aten.avg_pool2d.default(x, [4, 4], [4, 4], [0, 0], True),
    ],
)
def test_operators_without_a_kernel(pool: Callable[[Tensor], Tensor]) -> None:
    graph = trace([], 1, lambda _, x: pool(x[0]))
    steps = run_both(graph, [torch.randn(1, CHANNELS, SIDE, SIDE)], torch.float32)
    assert [type(step) for step in steps] == [TorchStep]


class FoldedFrames(nn.Module):
    """A 3-D convolution, and a 2-D network for frames that are folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv3d(1, 8, (5, 7, 7), (1, 2, 2), (2, 3, 3))
        self.trunk = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
        )
        self.skip = nn.Conv2d(8, 16, 1, 2)

    def forward(self, clip: Tensor) -> Tensor:
        x = F.relu(self.front(clip))
        n, c, t, h, w = x.shape
        x = x.transpose(1, 2).reshape(n * t, c, h, w)
        x = F.relu(self.trunk(x) + self.skip(x))
        return x.mean((2, 3)).view(n, t, -1).mean(1)


@pytest.fixture(scope="module")
def folded() -> StepProgram:
    torch.manual_seed(0)
    return convert(FoldedFrames().eval(), (1, 6, 20, 20))


def test_kernels_run_convolutions_of_folded_frames(folded: StepProgram) -> None:
    examples = [torch.randn(1, *folded.frame_shape)]
    examples += [torch.randn(1, *spec.shape) for spec in folded.states for _ in range(spec.depth)]
    step = open_executor(torch.float32).compile(folded.phases[0].steady, examples, 1)
    by_torch = [s for s in step.plan.steps if not isinstance(s, NativeSteps)]  # type: ignore[attr-defined]
    assert not any("conv2d" in str(one.node.target) for one in by_torch)
