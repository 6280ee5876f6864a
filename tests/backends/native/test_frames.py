"""The native backend reads the caller's frames in NCHW float32, and does not keep them."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.backends.contract import copy_map
from co3d.backends.native.step import PlannedStep
from support.graphs import trace
from support.kernel_checks import TOLERANCES, open_executor
from support.networks import Classifier
from support.streaming import relative_error


@pytest.mark.parametrize("size", [(1, 3, 224, 224), (3, 3, 7, 13), (2, 3, 8, 8), (1, 3, 1, 1)])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_frames_are_laid_out_as_pytorch_does(size: tuple[int, ...], dtype: torch.dtype) -> None:
    frames = torch.randn(size)
    expected = copy_map(frames, open_executor(dtype))
    made = torch.zeros_like(expected)
    open_executor(dtype).lay_out_frames(frames, made)
    assert torch.equal(made, expected)


def test_nchw_float32_frames_are_read_in_place() -> None:
    frame = torch.randn(2, 3, 6, 8)
    assert open_executor(torch.bfloat16).take_frames([frame])[0] is frame


@pytest.mark.parametrize(
    "frame",
    [
        torch.randn(2, 3, 6, 8, dtype=torch.float64),
        torch.randn(2, 3, 8, 6).transpose(2, 3),
        torch.randn(2, 3, 6, 8).to(memory_format=torch.channels_last),
        torch.randn(2, 3).half(),
    ],
    ids=["float64", "transposed", "channels last", "no map"],
)
def test_other_frames_become_nchw_float32(frame: Tensor) -> None:
    taken = open_executor(torch.float32).take_frames([frame])[0]
    assert taken.is_contiguous()
    assert torch.equal(taken, frame.float())


def compile_and_compare(
    forward: Callable[..., object],
    weights: Sequence[Tensor],
    frames: Tensor,
    dtype: torch.dtype,
) -> PlannedStep:
    """Run a graph on frames in NCHW, and compare it with PyTorch in double precision."""
    graph = trace(weights, 1, forward)
    step = open_executor(dtype).compile(graph, [frames], 0)
    assert isinstance(step, PlannedStep)
    expected = graph.double()(frames.double())
    for _ in range(2):
        for made, wanted in zip(step([frames]), expected, strict=True):
            assert made is not None
            assert relative_error(made.double(), wanted) < TOLERANCES[dtype]
    return step


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [1, 8, 16, 24, 45, 70, 80])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3), {"stride": 2, "padding": 1}),
        ((3, 3), {"padding": 1}),
        ((1, 1), {}),
        ((3, 5), {"stride": (1, 2), "padding": (2, 1)}),
        ((3, 3), {"stride": (3, 1), "dilation": (1, 2), "padding": (0, 4)}),
        ((2, 4), {"stride": 2}),
    ],
)
def test_convolutions_read_nchw(
    dtype: torch.dtype, channels: int, kernel: tuple[int, int], options: dict[str, object]
) -> None:
    options = {name: (n, n) if isinstance(n, int) else n for name, n in options.items()}

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> object:
        return (torch.relu(torch.conv2d(x[0], w[0], w[1], **options)),)  # type: ignore[arg-type]

    torch.manual_seed(0)
    for height, width in [(9, 8), (10, 9), (40, 41)]:
        weights = [torch.randn(channels, 3, *kernel), torch.randn(channels)]
        step = compile_and_compare(forward, weights, torch.randn(2, 3, height, width), dtype)
        assert step.plan.nchw == {0}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("reader", ["stride", "kernel", "pool", "output"])
def test_frames_with_other_readers_are_copied_to_nhwc(dtype: torch.dtype, reader: str) -> None:
    """A stride of three, a kernel with many taps, an operator of PyTorch, a state of frames."""
    kernel = 7 if reader == "kernel" else 3

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> object:
        made = torch.conv2d(x[0], w[0], None, stride=(3, 3) if reader == "stride" else (1, 1))
        others = {"pool": lambda: F.max_pool2d(x[0], 2), "output": lambda: x[0]}
        return (made, others[reader]()) if reader in others else (made,)

    torch.manual_seed(0)
    weights = [torch.randn(24, 3, kernel, kernel)]
    step = compile_and_compare(forward, weights, torch.randn(2, 3, 16, 18), dtype)
    assert step.plan.frames == {0}
    assert not step.plan.nchw


def test_a_frame_that_two_convolutions_and_an_operator_of_pytorch_read() -> None:
    """The convolutions read it through a concatenation of one tensor, the operator directly."""

    def forward(w: Sequence[Tensor], x: Sequence[Tensor]) -> object:
        joined = torch.cat([x[0]], 1)
        made = [torch.conv2d(joined, w[i], None, padding=(1, 1)) for i in range(2)]
        return (*made, F.max_pool2d(x[0], 2))

    torch.manual_seed(0)
    weights = [torch.randn(24, 3, 3, 3) for _ in range(2)]
    step = compile_and_compare(forward, weights, torch.randn(1, 3, 8, 8), torch.bfloat16)
    assert not step.plan.nchw


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_stream_opened_in_inference_mode_steps_outside_of_it(channels: int) -> None:
    torch.manual_seed(0)
    network = Classifier(nn.Conv3d(channels, 4, 3, padding=1)).eval()
    program = co3d.convert(network, (channels, 4, 8, 8))
    with torch.inference_mode():
        stream = co3d.open_stream(program, backend="native", precision="bfloat16")
    for _ in range(3):
        made = stream.step(torch.randn(1, channels, 8, 8, requires_grad=True)).output
    assert not made.requires_grad


@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3)])
def test_callers_may_write_over_a_frame_after_its_step(kernel: tuple[int, int, int]) -> None:
    """A temporal convolution stores frames as state; another convolution reads them in place."""
    torch.manual_seed(0)
    first = nn.Conv3d(3, 4, kernel, padding=tuple(k // 2 for k in kernel))
    network = Classifier(first, nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))).eval()
    program = co3d.convert(network, (3, 4, 8, 8))
    kept, reused = (co3d.open_stream(program, backend="native") for _ in range(2))
    buffer = torch.empty(1, 3, 8, 8)
    for _ in range(8):
        frame = torch.randn(1, 3, 8, 8)
        buffer.copy_(frame)
        assert torch.equal(reused.step(buffer).output, kept.step(frame).output)
        buffer.fill_(torch.nan)
