"""The stream's contract other than parity: copies, errors, options."""

import pytest
import torch

from co3d.compiler import convert
from co3d.errors import InputShapeError, OptionError, StreamError
from co3d.runtime import open_stream
from support.networks import Classifier, small_network, stem
from support.streaming import make_clips, randomise_

FRAME = (3, 6, 6)


@pytest.fixture(scope="module")
def program():
    torch.manual_seed(0)
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


def test_the_caller_may_reuse_its_frame_buffer(program) -> None:
    (clip,) = make_clips([10], FRAME, torch.float32)
    fresh, reusing = open_stream(program), open_stream(program)
    buffer = torch.empty(1, *FRAME)
    for t in range(10):
        buffer.copy_(clip[None, :, t])
        expected = fresh.step(clip[None, :, t].clone()).output
        actual = reusing.step(buffer).output
        buffer.fill_(float("nan"))
        assert torch.equal(actual, expected)


def test_garbage_in_inactive_rows_never_spreads(program) -> None:
    (clip,) = make_clips([10], FRAME, torch.float32)
    stream = open_stream(program, slots=2)
    for t in range(10):
        frames = torch.stack([clip[:, t], torch.full(FRAME, float("nan"))])
        result = stream.step(frames, active=torch.tensor([True, False]))
        assert result.output.isfinite().all()


def test_float64_model_runs_in_float32() -> None:
    program = convert(Classifier(stem()).double(), (3, 4, 6, 6))
    assert open_stream(program).step(torch.zeros(1, *FRAME)).output.dtype == torch.float32


def test_reprs_have_shapes_and_not_numbers(program) -> None:
    result = open_stream(program).step(torch.zeros(1, *FRAME))
    assert repr(result) == "StepResult(output=(1, 5), valid=[False])"
    assert "frame=(3, 6, 6)" in repr(program)


def test_a_stream_has_the_name_of_its_backend(program) -> None:
    stream = open_stream(program, backend="torch")
    assert stream.backend == "torch (eager), float32 on cpu (as asked)"


def test_step_after_flush_needs_a_reset(program) -> None:
    stream = open_stream(program)
    stream.step(torch.zeros(1, *FRAME))
    stream.flush()
    with pytest.raises(StreamError, match="reset it first"):
        stream.step(torch.zeros(1, *FRAME))
    stream.step(torch.zeros(1, *FRAME), reset=torch.tensor([True]))


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(FRAME),
        torch.zeros(2, *FRAME),
        torch.zeros(1, 3, 6, 7),
        torch.zeros(1, *FRAME, dtype=torch.uint8),
    ],
)
def test_frames_of_another_shape_are_refused(program, frames: torch.Tensor) -> None:
    with pytest.raises(InputShapeError, match=r"\(slots, C, H, W\) = \(1, 3, 6, 6\)"):
        open_stream(program).step(frames)


def test_masks_of_another_shape_are_refused(program) -> None:
    stream = open_stream(program)
    for mask in (torch.tensor([True, True]), torch.tensor([1])):
        with pytest.raises(InputShapeError, match="one per slot"):
            stream.step(torch.zeros(1, *FRAME), active=mask)


@pytest.mark.parametrize(
    "options",
    [{"slots": 0}, {"precision": "int4"}, {"backend": "magic"}, {"device": "cuda:99"}],
)
def test_options_out_of_range_are_refused(program, options: dict) -> None:
    with pytest.raises(OptionError, match="cannot open a stream"):
        open_stream(program, **options)


def test_a_slot_out_of_range_is_refused(program) -> None:
    for call in ("reset", "flush", "snapshot"):
        with pytest.raises(OptionError, match="no such slot"):
            getattr(open_stream(program), call)(1)
