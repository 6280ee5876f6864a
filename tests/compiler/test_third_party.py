"""Networks with the structures of published ones: steps + flush equal the clip network."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.parity import verify
from co3d.runtime import open_stream
from support.slow import slow_but
from support.streaming import (
    first_result,
    make_clips,
    randomise_,
    relative_error,
    worst_error,
)
from support.third_party.c3d import c3d
from support.third_party.csn import csn
from support.third_party.detection_head import detection_head
from support.third_party.i3d_inception import i3d_inception
from support.third_party.r2plus1d_bottleneck import r2plus1d_bottleneck
from support.third_party.s3d import s3d
from support.third_party.slow_i3d import i3d, slow
from support.third_party.slowfast import slowfast
from support.third_party.tsm import tsm
from support.third_party.unet3d import unet3d
from support.third_party.video_resnet import mc3, r2plus1d, r3d
from support.third_party.x3d import x3d


@dataclass(frozen=True)
class Case:
    """A network, its training clip, and other properties."""

    make: Callable[[], nn.Module]
    frames: int
    size: int
    # Other lengths that the clip network takes.
    lengths: tuple[int, ...] = ()
    # Elements that its pool over time holds at the longest of them; None for the clip's own.
    window: int | None = None
    # The axis of time in the output without its batch; None where the output has no time.
    time_axis: int | None = None
    temporal_stride: int = 1
    # What each of its approximations says; none where empty.
    approximated: str = ""


PER_FRAME = "pools each frame instead of the whole clip"
EVENLY = "takes every 4th frame"

CASES = {
    "r3d": Case(r3d, 8, 16, (11, 16), window=2, temporal_stride=8),
    "mc3": Case(mc3, 8, 16, (5, 11), window=11),
    "r2plus1d": Case(r2plus1d, 8, 16, (11, 16), window=2, temporal_stride=8),
    # Trained on three elements: of two, the pool of two frames would be a pool of the whole clip.
    "s3d": Case(s3d, 24, 16, (21, 32), window=3, temporal_stride=8),
    "slow": Case(slow, 4, 32),
    "i3d": Case(i3d, 8, 32, temporal_stride=2),
    "x3d": Case(x3d, 6, 16, (9,), window=9, approximated=PER_FRAME),
    "slowfast, 5 lateral": Case(
        lambda: slowfast(5), 16, 16, (8,), window=4, temporal_stride=4, approximated=EVENLY
    ),
    "slowfast, 7 lateral": Case(lambda: slowfast(7), 8, 16, temporal_stride=4, approximated=EVENLY),
    "ir-csn": Case(lambda: csn(preserved=False), 8, 16, (11,), window=2, temporal_stride=8),
    "ip-csn": Case(lambda: csn(preserved=True), 8, 16, (11,), window=2, temporal_stride=8),
    "r2plus1d bottleneck": Case(r2plus1d_bottleneck, 8, 16, temporal_stride=4),
    "tsm": Case(tsm, 8, 16),
    "i3d inception": Case(i3d_inception, 24, 32, (16, 32), window=3, temporal_stride=8),
    "unet3d, interpolated": Case(lambda: unet3d(transposed=False), 6, 8, (4, 9), time_axis=1),
    "unet3d, transposed": Case(lambda: unet3d(transposed=True), 6, 8, (4, 9), time_axis=1),
}
STRIDED = [name for name, case in CASES.items() if case.temporal_stride > 1]


def _make(case: Case) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    return randomise_(case.make()).double(), (3, case.frames, case.size, case.size)


def _check(
    model: nn.Module, program: StepProgram, case: Case, other_lengths: tuple[int, ...]
) -> None:
    assert program.temporal_stride == case.temporal_stride
    assert bool(program.approximations) == bool(case.approximated)
    assert all(case.approximated in line for line in program.approximations)
    assert not program.fallbacks
    assert worst_error(model, program, (case.frames, *other_lengths), case.time_axis) <= 1e-10


@pytest.mark.parametrize("name", CASES)
def test_dense_steps_equal_the_clip(name: str) -> None:
    case = CASES[name]
    model, shape = _make(case)
    program = convert(model, shape, edges="both", window=case.window)
    _check(model, program, case, case.lengths)


@pytest.mark.parametrize("spread", slow_but([False, True], True))
@pytest.mark.parametrize("name", STRIDED)
def test_native_steps_equal_the_clip(name: str, spread: bool) -> None:
    case = CASES[name]
    model, shape = _make(case)
    program = convert(model, shape, edges="both", window=case.window, rate="native", spread=spread)
    # An approximated network is exported again for every length, which the dense test has done.
    _check(model, program, case, () if case.approximated else case.lengths)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_value_equals_the_clips(name: str) -> None:
    """Compares values for the training clip; the tests above compare results of other lengths."""
    model, shape = _make(CASES[name])
    verify(model, shape, lengths=()).require()


def test_detection_head_gives_both_results_for_every_frame() -> None:
    torch.manual_seed(0)
    model = randomise_(detection_head()).double()
    program = convert(model, (3, 8, 16, 16), edges="both")
    assert not program.approximations
    for clip in make_clips([8, 5, 20], program.frame_shape, torch.float64):
        stream = open_stream(program, precision="float64")
        results = [stream.step(clip[None, :, step]) for step in range(clip.shape[1])]
        results += stream.flush()
        outputs = [result.output for result in results if bool(result.fresh)]
        outputs = outputs[first_result(program) :]
        with torch.inference_mode():
            expected = model(clip[None])
        for name in ("scores", "offsets"):
            made = torch.stack([_named(output, name) for output in outputs], 2)
            assert made.shape == expected[name].shape
            assert relative_error(made, expected[name]) <= 1e-10
    verify(model, (3, 8, 16, 16)).require()


def _named(output: object, name: str) -> Tensor:
    assert isinstance(output, dict)
    return output[name]


@pytest.mark.parametrize("rate", ["dense", "native"])
def test_flattened_head_is_a_window(rate: str) -> None:
    torch.manual_seed(0)
    model = randomise_(c3d()).double()
    program = convert(model, (3, 16, 16, 16), edges="both", rate=rate)  # type: ignore[arg-type]
    assert program.window == 2  # what strides leave of 16 frames
    assert not program.approximations
    assert not program.fallbacks
    assert worst_error(model, program, [16, 16]) <= 1e-10
    verify(model, (3, 16, 16, 16), rate=rate, lengths=()).require()  # type: ignore[arg-type]
