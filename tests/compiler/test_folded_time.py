"""Time folded into an axis with others, and other axes folded into the batch."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.streaming import make_clips, randomise_, relative_error, run_steps, worst_error

SHAPE = (3, 8, 6, 6)
LENGTHS = [8, 5, 11, 1]


def along_time(m: nn.Module, x: Tensor) -> Tensor:
    """Pixels in the batch: (N·H·W, C, T), as learned shifts have them."""
    y = m.stem(x)
    n, c, t, h, w = y.shape
    y = m.inner(y.permute(0, 3, 4, 1, 2).reshape(n * h * w, c, t))
    return y.view(n, h, w, c, t).permute(0, 3, 4, 1, 2).mean((3, 4))


def along_time_with_shortcut(m: nn.Module, x: Tensor) -> Tensor:
    y = m.stem(x)
    n, c, t, h, w = y.shape
    shifted = m.inner(y.permute(0, 3, 4, 1, 2).reshape(n * h * w, c, t))
    return (shifted.view(n, h, w, c, t).permute(0, 3, 4, 1, 2) * y).mean((3, 4))


def frames_in_channels(m: nn.Module, x: Tensor) -> Tensor:
    """(N, T·C, H, W), as loaders of per-frame networks give clips."""
    y = m.stem(x)
    n, c, t, h, w = y.shape
    y = y.transpose(1, 2).reshape(n, t * c, h, w).relu()
    return m.inner(y.reshape(n * t, c, h, w)).view(n, t, 2).transpose(1, 2)


def pixels_as_rows(m: nn.Module, x: Tensor) -> Tensor:
    """(N·T·H·W, C), as attention over memory slots takes them."""
    y = m.stem(x)
    n, c, t, h, w = y.shape
    y = F.softmax(m.inner(y.permute(0, 2, 3, 4, 1).reshape(-1, c)), 1)
    return F.normalize(y, p=1, dim=1).view(n, t, h, w, 5).permute(0, 4, 1, 2, 3).mean((3, 4))


def time_inside_pixels(m: nn.Module, x: Tensor) -> Tensor:
    """(N·H·W·T, C), and from there to (N·H·W, T, C)."""
    y = m.stem(x)
    n, c, t, h, w = y.shape
    y = m.inner(y.permute(0, 3, 4, 2, 1).reshape(-1, c)).view(n * h * w, t, 5).relu()
    return y.view(n, h, w, t, 5).permute(0, 4, 3, 1, 2).mean((3, 4))


NETWORKS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], Callable[[], nn.Module]]] = {
    "depthwise kernel": (along_time, lambda: nn.Conv1d(4, 4, 3, padding=1, groups=4)),
    "dense kernel": (along_time, lambda: nn.Conv1d(4, 4, 3, padding=1)),
    "mean": (along_time, lambda: nn.AvgPool1d(3, 1, 1, count_include_pad=False)),
    "maximum": (along_time, lambda: nn.MaxPool1d(3, 1, 1)),
    "shortcut": (along_time_with_shortcut, lambda: nn.Conv1d(4, 4, 5, padding=2)),
    "channels": (frames_in_channels, lambda: nn.Conv2d(4, 2, 6)),
    "pixels": (pixels_as_rows, lambda: nn.Linear(4, 5)),
    "time inside": (time_inside_pixels, lambda: nn.Linear(4, 5)),
}


def build(name: str) -> nn.Module:
    forward, inner = NETWORKS[name]
    torch.manual_seed(0)
    return randomise_(Apply(forward, stem=stem(), inner=inner())).double()


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_equal_clips(name: str) -> None:
    model = build(name)
    program = convert(model, SHAPE, edges="both")
    assert not program.approximations
    assert worst_error(model, program, LENGTHS, time_axis=1) <= 1e-10


@pytest.mark.parametrize("name", ["depthwise kernel", "shortcut", "time inside"])
def test_every_value_equals_its_clip(name: str) -> None:
    found = co3d.verify(build(name), SHAPE)
    found.require()


def test_a_learned_shift_has_the_state_and_macs_of_a_temporal_kernel() -> None:
    def plainly(m: nn.Module, x: Tensor) -> Tensor:
        return m.inner(m.stem(x)).mean((3, 4))

    kernel = nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=4)
    plain = convert(Apply(plainly, stem=stem(), inner=kernel), SHAPE)
    folded = convert(Apply(along_time, stem=stem(), inner=NETWORKS["depthwise kernel"][1]()), SHAPE)
    assert folded.delay == plain.delay
    assert folded.macs_per_frame == plain.macs_per_frame
    assert folded.state_bytes == plain.state_bytes


def test_rows_of_streams_are_not_mixed() -> None:
    """A result with several rows per stream has no rows of other streams."""
    forward = Apply(
        lambda m, x: m.stem(x).permute(0, 3, 4, 2, 1).reshape(-1, x.shape[2], 4).mean(1),
        stem=stem(),
    )
    model = randomise_(forward).double()
    program = convert(model, SHAPE, edges="both")
    assert program.output_shape == (36, 4)
    clips = make_clips([8, 8], (3, 6, 6), torch.float64)
    for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
        with torch.inference_mode():
            assert relative_error(outputs[-1], model(clip[None])) <= 1e-10


REFUSED: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str]] = {
    "time cut in two": (
        lambda m, x: m.stem(x).flatten(2, 3).unflatten(2, (3, 16)).mean(3),
        "it cuts the time axis",
    ),
    "pool over time and channels in one axis": (
        lambda m, x: F.max_pool1d(m.stem(x).mean((3, 4)).flatten(1)[:, None], 4),
        "time",
    ),
    "returned folded": (
        lambda m, x: m.stem(x).mean((3, 4)).flatten(1),
        "the network returns it with time folded into axis 1",
    ),
    "folded in two ways": (
        lambda m, x: (m.stem(x).flatten(1, 2) * m.stem(x).transpose(1, 2).flatten(1, 2)).mean(
            (2, 3)
        ),
        "in different ways",
    ),
    "frames as grouped channels": (
        lambda m, x: F.conv2d(m.stem(x).flatten(1, 2), m.weight, groups=32).mean((2, 3)),
        "in 32 groups",
    ),
    "norm over frames and channels": (
        lambda m, x: F.layer_norm(m.stem(x).mean((3, 4)).flatten(1), (32,)),
        "treats time and what is folded",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operators_along_merged_time_are_refused(name: str) -> None:
    forward, reason = REFUSED[name]
    model = Apply(forward, stem=stem())
    model.weight = nn.Parameter(torch.randn(32, 1, 3, 3))
    with pytest.raises(ConversionError, match=reason):
        convert(model, SHAPE)
