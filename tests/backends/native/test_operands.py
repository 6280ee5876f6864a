"""PyTorch computes with operands whose dtype or layout kernels do not support."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.runtime import open_stream
from support.graphs import trace
from support.kernel_checks import TOLERANCES, open_executor, run_both
from support.streaming import relative_error

CHANNELS, SIDE = 20, 6


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "combine",
    [
        lambda x, gate, w: torch.mul(x, torch.gt(gate, 0)),  # a gate of booleans
        lambda x, gate, w: torch.mul(x, torch.sum(torch.gt(x, 0), (2, 3), True)),  # of integers
        lambda x, gate, w: torch.mul(torch.gt(x, 0), gate),  # a map of booleans
        lambda x, gate, w: torch.mul(torch.gt(x, 0), w["scale"]),
        lambda x, gate, w: torch.mul(w["pattern"], gate),  # a map that is a weight
        lambda x, gate, w: torch.add(torch.mul(w["pattern"], w["scale"]), x),
        lambda x, gate, w: torch.sigmoid(w["pattern"]) + x,
        lambda x, gate, w: torch.where(torch.gt(gate[:, :1], 0), w["pattern"], 0.5) + x,
    ],
)
def test_operands_of_other_kinds_run_in_torch(
    combine: Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor], dtype: torch.dtype
) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        weights = {"pattern": w[1], "scale": w[2]}
        return torch.conv2d(combine(x[0], x[1], weights), w[0], None)

    torch.manual_seed(0)
    weights = [
        torch.randn(8, CHANNELS, 1, 1),
        torch.randn(1, CHANNELS, SIDE, SIDE),
        torch.randn(CHANNELS, 1, 1),
    ]
    graph = trace(weights, 2, forward)
    run_both(graph, [torch.randn(1, CHANNELS, SIDE, SIDE), torch.randn(1, CHANNELS, 1, 1)], dtype)


@pytest.mark.parametrize(
    "convert_map",
    [
        lambda x, gate: torch.sigmoid(torch.add(torch.gt(x, 0), 1)),
        lambda x, gate: torch.where(torch.gt(gate[:, :1], 0), torch.add(torch.gt(x, 0), 1), 0.5),
    ],
)
def test_integers(convert_map: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Both operators convert integers to floats."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return torch.conv2d(convert_map(x[0], x[1]), w[0], None)

    torch.manual_seed(0)
    graph = trace([torch.randn(8, CHANNELS, 1, 1)], 2, forward)
    inputs = [torch.randn(1, CHANNELS, SIDE, SIDE), torch.randn(1, CHANNELS, 1, 1)]
    (actual,) = open_executor(torch.float32).compile(graph, inputs, 0)(inputs)
    (expected,) = graph(*inputs)
    assert actual is not None
    assert relative_error(actual, expected) < TOLERANCES[torch.float32]


def test_weights_that_are_views_of_one_another() -> None:
    """A square matrix and its transpose have the same address and shape."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv3d(3, 16, (1, 3, 3))
            self.weight = nn.Parameter(torch.randn(16, 16) / 4)

        def forward(self, clip: Tensor) -> Tensor:
            made = self.first(clip).mean((3, 4)).mean(2)
            return F.linear(torch.relu(F.linear(made, self.weight)), self.weight.t())

    torch.manual_seed(0)
    program = convert(Tied().eval(), (3, 4, 8, 8))
    streams = [open_stream(program, backend=name) for name in ("torch", "native")]
    for _ in range(program.receptive_field):
        frame = torch.randn(1, 3, 8, 8)
        expected, actual = (stream.step(frame).output for stream in streams)
    assert relative_error(actual, expected) < 1e-5
