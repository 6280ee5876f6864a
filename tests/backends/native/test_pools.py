"""Kernels run max pools, means and averages over time, so that a whole step is one call."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d import convert
from support.graphs import trace
from support.kernel_checks import TOLERANCES, assert_one_kernel, open_executor, run_both


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [3, 16, 40])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0]},
        {"kernel_size": 2, "dilation": [3, 2], "stride": 1},
        {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True},
    ],
)
def test_max_pools(dtype: torch.dtype, channels: int, options: dict) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return F.max_pool2d(x[0], **options)

    torch.manual_seed(0)
    assert_one_kernel(run_both(trace([], 1, forward), [torch.randn(2, channels, 7, 9)], dtype))


@pytest.mark.parametrize("channels", [3, 40])
def test_max_pools_keep_infinity_and_nan(channels: int) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return F.max_pool2d(torch.maximum(x[0], x[1]), 2, 2)

    maps = [torch.randn(1, channels, 4, 4) for _ in range(2)]
    maps[0][0, 0, 0, 1] = float("nan")
    maps[1][0, 1, 2, 2] = float("nan")
    maps[0][0, 2, :2, :2] = maps[1][0, 2, :2, :2] = float("-inf")
    graph = trace([], 2, forward)
    made = open_executor(torch.float32).compile(graph, maps, 1)(maps)[0]
    assert made is not None
    assert torch.equal(made.nan_to_num(9e9), graph(*maps)[0].nan_to_num(9e9))


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_mean_of_a_convolution_and_windows_of_vectors(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        mean = torch.mean(torch.conv2d(x[0], w[0], None), [2, 3], False)
        window = torch.mul(torch.sum(torch.stack([x[1], x[2], mean]), 0), 1 / 3)
        return F.linear(window, w[1])

    torch.manual_seed(0)
    graph = trace([torch.randn(40, 6, 1, 1), torch.randn(5, 40)], 3, forward)
    inputs = [torch.randn(2, 6, 5, 7), torch.randn(2, 40), torch.randn(2, 40)]
    assert_one_kernel(run_both(graph, inputs, dtype), 4)


class Pools(nn.Module):
    """Stores its frames unchanged as state, and pools them over time and space."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool3d((3, 2, 2), (1, 2, 2), (1, 0, 0))
        self.second = nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0))
        self.head = nn.Linear(8, 4)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.second(self.pool(torch.relu(self.first(clip))))
        return self.head(x.mean((2, 3, 4)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_is_one_call_and_gives_what_pytorch_gives(
    threads: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("co3d.runtime.threads.SMALL_NETWORK_MACS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        program = convert(Pools().eval(), (3, 6, 12, 12))
        compiled = co3d.compile(program, backend="native", precision=precision)
        reference = co3d.compile(program, backend="torch")
        tables = compiled._executable._tables  # type: ignore[attr-defined]
        assert tables[0, False].can_step_together
        slots = [compiled.open() for _ in range(3)]
        alone = [compiled.open() for _ in range(3)]
        expected = [reference.open() for _ in range(3)]
        for _ in range(16):
            frames = torch.randn(3, 3, 12, 12)
            made = compiled.step(slots, frames).output
            torch.testing.assert_close(
                made,
                reference.step(expected, frames).output,
                rtol=1e-5 if precision == "float32" else 0.05,
                atol=1e-5 if precision == "float32" else 0.05,
            )
            for row, slot in enumerate(alone):
                single = compiled.step([slot], frames[row : row + 1]).output
                assert torch.equal(single[0], made[row])
    finally:
        torch.set_num_threads(before)
