"""Ways to write padding, selection and pooling in time: without extra delay, and never misread."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from support.networks import Apply, stem
from support.streaming import randomise_, worst_error

SHAPE = (3, 8, 6, 6)
EXACT = 1e-10


def padded(
    start: int, end: int, *, dilation: int = 1, stride: int = 1, space: bool = True
) -> Apply:
    """A pad before a convolution of three frames."""
    around = (1, 1, 1, 1) if space else (0, 0, 0, 0)

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.after(F.pad(m.stem(x), (*around, start, end))).mean((3, 4))

    options = {"stride": (stride, 1, 1), "dilation": (dilation, 1, 1)}
    return Apply(forward, stem=stem(), after=nn.Conv3d(4, 4, 3, **options))


# Network, and the delay of an equal convolution that pads itself, behind the stem's of 1.
PADS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "alike": (lambda: padded(1, 1), 1),
    "before only, causal": (lambda: padded(2, 0), 0),
    "before only, without space": (lambda: padded(2, 0, space=False), 0),
    "behind only": (lambda: padded(0, 2), 2),
    "causal and dilated": (lambda: padded(4, 0, dilation=2), 0),
    "causal with a stride": (lambda: padded(2, 0, stride=2), 0),
    "more than the kernel": (lambda: padded(5, 1), 0),
}


@pytest.mark.parametrize("name", PADS)
def test_a_pad_before_a_convolution_adds_no_delay(name: str) -> None:
    torch.manual_seed(0)
    make, delay = PADS[name]
    model = randomise_(make()).double()
    program = convert(model, SHAPE, edges="both")
    assert program.delay == 1 + delay
    assert worst_error(model, program, [8, 5, 11, 2], time_axis=1) <= EXACT
    if program.temporal_stride > 1:
        native = convert(model, SHAPE, edges="both", rate="native")
        assert worst_error(model, native, [8, 5, 11, 2], time_axis=1) <= EXACT


def pad_with_ones(m: nn.Module, x: Tensor) -> Tensor:
    return m.after(F.pad(m.stem(x), (0, 0, 0, 0, 1, 1), value=1.0)).mean((3, 4))


UNLIKE: dict[str, Callable[[], nn.Module]] = {
    "a value that is not zero": lambda: Apply(pad_with_ones, stem=stem(), after=nn.Conv3d(4, 4, 3)),
    "a stride that splits the difference": lambda: padded(1, 2, stride=2),
    "a crop": lambda: padded(-1, 2),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_pads_that_no_convolution_can_do_are_not_fused(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(UNLIKE[name]()).double()
    assert worst_error(model, convert(model, SHAPE, edges="both"), [8, 6, 10], time_axis=1) <= EXACT


def two_rates(pick: Callable[[Tensor], Tensor]) -> Apply:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return torch.cat((m.slow(pick(x)).mean((2, 3, 4)), m.stem(x).mean((2, 3, 4))), 1)

    return Apply(forward, stem=stem(), slow=stem())


PICKS: dict[str, Callable[[Tensor], Tensor]] = {
    "scale": lambda x: F.interpolate(x, scale_factor=(1 / 4, 1.0, 1.0), mode="nearest"),
    "size": lambda x: F.interpolate(x, size=(2, 6, 6), mode="nearest"),
    "size, and smaller pictures": lambda x: F.interpolate(x, size=(2, 3, 3), mode="nearest"),
    "scale, and smaller pictures": lambda x: F.interpolate(
        x, scale_factor=(0.25, 0.5, 0.5), mode="nearest"
    ),
}


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize("name", PICKS)
def test_a_resize_to_fewer_frames_is_a_stride(name: str, rate: str) -> None:
    torch.manual_seed(0)
    model = randomise_(two_rates(PICKS[name])).double()
    program = convert(model, SHAPE, edges="both", rate=rate)  # type: ignore[arg-type]
    assert program.temporal_stride == 4
    # A size is two frames of any clip, and a scale leaves out what is no whole four; a stream goes
    # on taking every fourth.
    (listed,) = program.approximations
    assert "takes every 4th frame (0, 4, 8 …) instead of these of a clip" in listed
    assert worst_error(model, program, [8, 8], rewritten=False) <= EXACT
    assert worst_error(model, program, [8, 4] if "scale" in name else [8, 8]) <= EXACT


def test_a_resize_to_uneven_frames_picks_those() -> None:
    torch.manual_seed(0)
    model = Apply(
        lambda m, x: m.fc(F.interpolate(m.stem(x), size=(3, 1, 1)).flatten(1)),
        stem=stem(),
        fc=nn.Linear(12, 5),
    )
    model = randomise_(model).double()
    program = convert(model, SHAPE, edges="both")
    assert program.window == 8  # frames 0, 2 and 5
    assert worst_error(model, program, [8, 8]) <= EXACT


@pytest.mark.parametrize("zero", [lambda x: x - x, lambda x: x * 0, torch.zeros_like])
def test_shifts_however_they_are_written(zero: Callable[[Tensor], Tensor]) -> None:
    def shift(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x).transpose(1, 2)
        left, right, rest = y[:, :, :1], y[:, :, 1:2], y[:, :, 2:]
        left = torch.cat((left[:, 1:], zero(left)[:, :1]), 1)
        right = torch.cat((zero(right)[:, :1], right[:, :-1]), 1)
        return torch.cat((left, right, rest), 2).mean((3, 4)).transpose(1, 2)

    torch.manual_seed(0)
    model = randomise_(Apply(shift, stem=stem())).double()
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, program, [8, 5, 11, 1], time_axis=1) <= EXACT


def test_a_difference_of_two_values_is_not_zero() -> None:
    model = randomise_(Apply(lambda m, x: m.stem(x) - m.other(x), stem=stem(), other=stem()))
    program = convert(model.double(), SHAPE, edges="both")
    assert worst_error(model, program, [8, 3], time_axis=1) <= EXACT


class Halving(nn.Module):
    """Pools that halve until one element is left; the last is as long as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.middle = stem(), nn.Conv3d(4, 4, 3, padding=1)
        self.last = nn.Conv3d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool3d(self.stem(x), 2)
        x = F.avg_pool3d(self.middle(x).relu(), (2, 3, 3), 2, (0, 1, 1))
        return self.last(F.avg_pool3d(x, (2, 1, 1))).mean((2, 3, 4))


class PoolAndConvolution(nn.Module):
    """A pool in parallel to a convolution of the same stride."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = stem(), nn.Conv3d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.cat((self.down(x), F.avg_pool3d(x, (2, 3, 3), 2, (0, 1, 1))), 1).mean(
            (2, 3, 4)
        )


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize(
    ("make", "frames"), [(Halving, 8), (PoolAndConvolution, 2), (PoolAndConvolution, 4)]
)
def test_a_pool_as_long_as_the_remaining_elements_slides(
    make: Callable[[], nn.Module], frames: int, rate: str
) -> None:
    torch.manual_seed(0)
    model = randomise_(make()).double()
    shape = (3, frames, 8, 8)
    program = convert(model, shape, edges="both", rate=rate)  # type: ignore[arg-type]
    assert not program.approximations
    assert worst_error(model, program, [frames, frames]) <= EXACT
    co3d.verify(model, shape, rate=rate, lengths=[]).require()  # type: ignore[arg-type]


def test_a_pool_as_long_as_the_clip_without_kernels_in_time_after_it_is_global() -> None:
    """Nothing after it has a kernel in time, so that `window` can change it."""
    model = Apply(
        lambda m, x: m.head(F.avg_pool3d(m.stem(x), (8, 6, 6))).flatten(1),
        stem=stem(),
        head=nn.Conv3d(4, 5, 1),
    )
    model = randomise_(model).double()
    program = convert(model, SHAPE, edges="both", window=12)
    assert program.window == 12
    assert worst_error(model, program, [8]) <= EXACT
