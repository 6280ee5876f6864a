"""Every kernel, with every fusion, equals the operators that it replaces.

`support/kernel_checks.py` compares them.
"""

import functools
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from co3d.backends.native.executor import NativeExecutor
from co3d.backends.native.plan import NativeSteps, TorchStep
from support.graphs import ACTIVATIONS, activate, draw_dense_convolution, trace
from support.kernel_checks import TOLERANCES, assert_one_kernel, open_executor, run_both

aten = torch.ops.aten
dtypes = st.sampled_from(list(TOLERANCES))
# One channel, fewer than a vector, a full vector, and no multiple of a vector.
channel_counts = st.sampled_from([1, 3, 8, 16, 17, 24, 54, 70])
# From 8 rows on, over the batch, threads divide the rows of a depthwise sum of few channels.
sides = st.sampled_from([1, 2, 5, 7, 9, 16, 27])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), dtypes, channel_counts, channel_counts, sides, sides)
def test_dense_convolutions(
    data: st.DataObject, dtype: torch.dtype, inputs: int, outputs: int, height: int, width: int
) -> None:
    drawn = draw_dense_convolution(data.draw, inputs, outputs, height, width)
    if drawn is not None:
        assert_one_kernel(run_both(*drawn, dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize(
    ("channels", "outputs", "side", "options"),
    [
        ([512, 512, 512], 40, 7, {}),
        ([640], 400, 6, {}),  # weights that are larger than the maps
        ([1100], 17, 12, {"stride": (2, 1)}),
        ([300], 70, 9, {"padding": (1, 1)}),
        ([130, 256], 54, 11, {"padding": (1, 2), "stride": (1, 2), "dilation": (1, 2)}),
        ([257], 8, 8, {"padding": (2, 1), "dilation": (2, 1)}),  # not to be taken in pairs
        ([1024], 100, 5, {"padding": (1, 1)}),  # results outside the map
        ([256, 258], 40, 3, {}),  # too few pixels in a map for AMX
    ],
)
def test_dense_convolutions_of_many_inputs(
    dtype: torch.dtype,
    adds: bool,
    channels: list[int],
    outputs: int,
    side: int,
    options: dict[str, tuple[int, int]],
) -> None:
    torch.manual_seed(0)
    members = 3  # so that small maps have enough pixels together
    kernel = (3, 3) if sum(channels) < 512 else (1, 1)
    weight = torch.randn(outputs, sum(channels), *kernel)
    like = torch.conv2d(torch.zeros(members, sum(channels), side, side), weight, None, **options)

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        source = torch.cat(list(x[: len(channels)]), 1) if len(channels) > 1 else x[0]
        made = torch.conv2d(source, w[0], w[1], **options)
        return torch.relu(torch.add(x[-1], made)) if adds else made

    tensors = [torch.randn(members, n, side, side) for n in channels]
    tensors += [torch.randn(like.shape)] * adds
    graph = trace([weight, torch.randn(outputs)], len(tensors), forward)
    assert_one_kernel(run_both(graph, tensors, dtype))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), dtypes, channel_counts, sides, sides)
def test_sums_of_depthwise_convolutions(
    data: st.DataObject, dtype: torch.dtype, channels: int, height: int, width: int
) -> None:
    kernel = data.draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 3), (3, 1), (2, 3)]))
    options = {
        "stride": data.draw(st.sampled_from([(1, 1), (2, 2), (3, 1), (1, 3), (4, 4)])),
        "padding": data.draw(
            st.sampled_from([(0, 0), (1, 1), (2, 1), tuple(k // 2 for k in kernel)])
        ),
        "dilation": data.draw(st.sampled_from([(1, 1), (2, 2), (2, 1), (1, 2)])),
        "groups": channels,
    }
    if height + 2 * options["padding"][0] < options["dilation"][0] * (kernel[0] - 1) + 1:
        return
    if width + 2 * options["padding"][1] < options["dilation"][1] * (kernel[1] - 1) + 1:
        return
    activation = data.draw(st.sampled_from(ACTIVATIONS))
    frames, averages = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    torch.manual_seed(0)
    weights = [torch.randn(channels, 1, *kernel) for _ in range(frames)]

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        made = torch.conv2d(x[0], w[0], w[-1], **options)
        for source, weight in zip(x[1:], w[1:], strict=False):
            made = torch.add(made, torch.conv2d(source, weight, None, **options))
        made = activate(made, activation)
        return (made, torch.mean(made, [2, 3], True)) if averages else (made,)

    graph = trace([*weights, torch.randn(channels)], frames, forward)
    tensors = [torch.randn(2, channels, height, width) for _ in range(frames)]
    if channels == 1:  # dense and depthwise are the same then
        run_both(graph, tensors, dtype)
    else:
        assert_one_kernel(run_both(graph, tensors, dtype), 1 + averages)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [8, 54])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_kernels_slide_along_rows_of_any_length(
    dtype: torch.dtype, channels: int, stride: int, padding: int
) -> None:
    """Results that two overlapping tiles compute count once in the average."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        options = {"stride": (stride,) * 2, "padding": (padding,) * 2, "groups": channels}
        parts = [torch.conv2d(frame, w[i], None, **options) for i, frame in enumerate(x)]
        made = functools.reduce(torch.add, parts)
        return made, torch.mean(made, [2, 3], True)

    torch.manual_seed(0)
    for width in range(3, 26):
        graph = trace([torch.randn(channels, 1, 3, 3) for _ in range(3)], 3, forward)
        maps = [torch.randn(1, channels, 3 + width % 8, width) for _ in range(3)]
        assert_one_kernel(run_both(graph, maps, dtype), 2)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [8, 24, 54])
@pytest.mark.parametrize("kernel", [(2, 3), (3, 3), (7, 7)])
def test_averages_of_pixels(dtype: torch.dtype, channels: int, kernel: tuple[int, int]) -> None:
    for stride in (1, 2, 3):
        graph = trace([], 1, lambda w, x, s=stride: F.avg_pool2d(x[0], kernel, s))
        assert_one_kernel(run_both(graph, [torch.rand(2, channels, 9, 13)], dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [8, 24, 54])
@pytest.mark.parametrize("frames", [2, 3, 5])
def test_sums_of_frames(dtype: torch.dtype, channels: int, frames: int) -> None:
    def add(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.add, x)

    def average(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return torch.mul(torch.sum(torch.stack(list(x)), 0), 1 / frames)

    for forward in (add, average):
        tensors = [torch.rand(2, channels, 5, 7) for _ in range(frames)]
        assert_one_kernel(run_both(trace([], frames, forward), tensors, dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [8, 24, 54])
def test_a_gate_is_applied_where_the_next_convolution_reads(
    dtype: torch.dtype, channels: int
) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        gated = aten.silu.default(aten.mul.Tensor(x[0], x[1]))
        return aten.relu.default(aten.add.Tensor(x[2], torch.conv2d(gated, w[0], w[1])))

    torch.manual_seed(0)
    graph = trace([torch.randn(20, channels, 1, 1), torch.randn(20)], 3, forward)
    shapes = [(2, channels, 9, 9), (2, channels, 1, 1), (2, 20, 9, 9)]
    assert_one_kernel(run_both(graph, [torch.randn(shape) for shape in shapes], dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_squeeze_and_excitation(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.conv2d(x[0], w[0], None, padding=(1, 1), groups=24)
        pooled = torch.flatten(torch.mean(made, [2, 3], True), 1)
        hidden = aten.relu.default(torch.reshape(F.linear(pooled, w[1], w[2]), (-1, 8, 1, 1)))
        gate = F.linear(torch.flatten(hidden, 1), w[3], w[4])
        gate = aten.sigmoid.default(torch.reshape(gate, (-1, 24, 1, 1)))
        return torch.conv2d(aten.silu.default(aten.mul.Tensor(made, gate)), w[5], None)

    torch.manual_seed(0)
    shapes = [(24, 1, 3, 3), (8, 24), (8,), (24, 8), (24,), (12, 24, 1, 1)]
    graph = trace([torch.randn(shape) / 3 for shape in shapes], 1, forward)
    assert_one_kernel(run_both(graph, [torch.randn(3, 24, 7, 7)], dtype), 5)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_chain_of_scaled_frames(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        made = torch.add(torch.mul(x[0], w[0]), w[1])
        return aten.relu.default(torch.addcmul(torch.addcmul(made, x[1], w[2]), x[2], w[3]))

    torch.manual_seed(0)
    graph = trace([torch.randn(24, 1, 1) for _ in range(4)], 3, forward)
    assert_one_kernel(run_both(graph, [torch.randn(2, 24, 6, 7) for _ in range(3)], dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_rows_outside_the_clip_are_filled(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        inside = torch.reshape(torch.ge(x[1], 3), (-1, 1, 1, 1))
        return torch.where(inside, torch.conv2d(x[0], w[0], None), -1.5)

    graph = trace([torch.randn(20, 24, 1, 1)], 2, forward)
    ages = torch.tensor([0, 3, 2, 7])
    assert_one_kernel(run_both(graph, [torch.randn(4, 24, 5, 5), ages], dtype), 2)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("age", [0, 1, 2, 9])
def test_the_average_of_a_window_that_is_not_full(dtype: torch.dtype, age: int) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        total = torch.sum(torch.stack([x[0], x[1], x[2]]), 0)
        count = torch.clamp_min(torch.sub(x[3], 1), 1)
        return F.linear(torch.div(total, torch.reshape(count, (-1, 1))), w[0], None)

    torch.manual_seed(0)
    graph = trace([torch.randn(7, 20)], 4, forward)
    inputs = [*[torch.randn(1, 20) for _ in range(3)], torch.tensor([age])]
    assert_one_kernel(run_both(graph, inputs, dtype), 2)


def test_a_sum_divided_by_a_value_of_the_frame_runs_in_torch() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        total = torch.sum(torch.stack([x[0], x[1]]), 0)
        count = torch.reshape(torch.sum(torch.gt(x[0], 0), 1), (-1, 1))
        return F.linear(torch.div(total, count), w[0], None)

    torch.manual_seed(0)
    graph = trace([torch.randn(7, 20)], 2, forward)
    steps = run_both(graph, [torch.randn(1, 20) for _ in range(2)], torch.float32)
    assert TorchStep in [type(step) for step in steps]


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_operators_without_a_kernel_run_in_torch(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        made = torch.conv2d(x[0], w[0], None)
        pooled = F.max_pool2d(torch.tanh(made), 2)
        mixed = torch.conv2d(pooled, w[1], None, groups=2)
        # Outputs may be an input, the same value twice, a view or a slice.
        return mixed, x[0], mixed, torch.flatten(mixed, 1), made[:, :4], made

    torch.manual_seed(0)
    graph = trace([torch.randn(20, 6, 1, 1), torch.randn(8, 10, 3, 3)], 1, forward)
    run_both(graph, [torch.randn(2, 6, 9, 9)], dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_values_of_other_dtypes_run_in_torch(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        wide = aten.to.dtype(torch.conv2d(x[0], w[0], None), torch.float64)
        return aten.relu.default(torch.add(wide, wide))

    graph = trace([torch.randn(20, 24, 1, 1)], 1, forward)
    steps = run_both(graph, [torch.randn(2, 24, 5, 5)], dtype)
    assert [type(step) for step in steps] == [NativeSteps, TorchStep, TorchStep, TorchStep]


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_results_are_float32_and_belong_to_the_caller(dtype: torch.dtype) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        return F.linear(x[0], w[0], w[1])

    graph = trace([torch.randn(70, 40), torch.randn(70)], 1, forward)
    step = open_executor(dtype).compile(graph, [torch.zeros(2, 40, dtype=dtype)], 1)
    first = step([torch.ones(2, 40, dtype=dtype)])[0]
    assert first is not None
    kept = first.clone()
    step([torch.zeros(2, 40, dtype=dtype)])
    assert first.dtype == torch.float32
    assert torch.equal(first, kept)


def test_a_result_that_is_state_too_is_a_copy() -> None:
    graph = trace([], 1, lambda _, x: (made := torch.relu(x[0] + x[0]), made))
    step = open_executor(torch.float32).compile(graph, [torch.randn(1, 24, 5, 5)], 1)
    result, state = step([torch.randn(1, 24, 5, 5)])
    assert result is not None
    assert state is not None
    assert torch.equal(result, state)
    assert result.data_ptr() != state.data_ptr()


def test_nan_propagates() -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        made = torch.conv2d(x[0], w[0], None)
        return tuple(activate(torch.add(made, x[i]), ACTIVATIONS[i]) for i in (1, 2, 3))

    x = torch.randn(1, 20, 3, 3)
    x[0, 5, 1, 1] = torch.nan
    graph = trace([torch.randn(20, 20, 1, 1)], 4, forward)
    for dtype in TOLERANCES:
        inputs = [x.to(dtype)] * 4
        for made in open_executor(dtype).compile(graph, inputs, 0)(inputs):
            assert made is not None
            assert made[0, :, 1, 1].isnan().all()
            assert not made[0, :, 0].isnan().any()


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sums_do_not_depend_on_the_number_of_threads(dtype: torch.dtype, threads: int) -> None:
    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        made = torch.conv2d(x[0], w[0], None, padding=(1, 1), groups=54)
        return torch.conv2d(made, w[1], None), torch.mean(made, [2, 3], True)

    torch.manual_seed(0)
    graph = trace([torch.randn(54, 1, 3, 3), torch.randn(70, 54, 1, 1)], 1, forward)
    x = torch.randn(1, 54, 60, 60, dtype=dtype)
    expected = open_executor(dtype).compile(graph, [x], 0)([x])
    made = NativeExecutor("any", dtype, threads).compile(graph, [x], 0)([x])
    for one, other in zip(made, expected, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
