"""Results at the edges of a clip, and in its interior."""

import pytest
import torch
from torch import nn

from co3d.compiler import convert
from co3d.runtime import open_stream
from support.networks import small_network, stem
from support.streaming import (
    clip_reference,
    make_clips,
    randomise_,
    relative_error,
    run_steps,
)

FRAME = (3, 6, 6)


def test_start_edges_equal_the_clip_as_far_as_its_end_has_no_effect() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(stem(), nn.ReLU(), nn.Conv3d(4, 4, 3, padding=1)).double()
    program = convert(model, (3, 8, 6, 6), edges="start")
    (clip,) = make_clips([10], FRAME, torch.float64)
    (outputs,) = run_steps(program, [clip])
    assert len(outputs) == 10  # flush has nothing to add
    expected = clip_reference(model, program, clip)
    actual = torch.stack(outputs[program.delay :], 1)
    assert relative_error(actual, expected[:, : 10 - program.delay]) <= 1e-10


def test_the_program_without_edges_equals_the_interior_of_a_long_clip() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        stem(), nn.Conv3d(4, 4, (5, 1, 1), padding=(2, 0, 0)), nn.MaxPool3d(3, 1, 1)
    ).double()
    program = convert(model, (3, 8, 6, 6), edges="none")
    assert all(phase.masked is None for phase in program.phases)
    (clip,) = make_clips([20], FRAME, torch.float64)
    (outputs,) = run_steps(program, [clip])
    expected = clip_reference(model, program, clip)
    settled = range(program.receptive_field - 1, 20)
    assert len(settled) > 5
    for step in settled:
        assert relative_error(outputs[step], expected[:, step - program.delay]) <= 1e-10


def test_steady_window_equals_mean_over_the_interior() -> None:
    torch.manual_seed(0)
    model = randomise_(small_network()).double()
    trunk = convert(model.trunk, (3, 20, 6, 6), edges="none").clip_graph
    program = convert(model, (3, 8, 6, 6), edges="none", window=5)
    (clip,) = make_clips([20], FRAME, torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        features = trunk(clip[None]).mean((3, 4))
        for step in range(program.receptive_field - 1, 20):
            newest = step - program.delay
            expected = model.fc(features[:, :, newest - 4 : newest + 1].mean(2))[0]
            assert relative_error(outputs[step], expected) <= 1e-10


def test_a_window_longer_than_the_video_averages_all_frames() -> None:
    torch.manual_seed(0)
    model = randomise_(small_network()).double()
    program = convert(model, (3, 8, 6, 6), edges="both", window=64)
    (clip,) = make_clips([8], FRAME, torch.float64)
    (outputs,) = run_steps(program, [clip])
    assert relative_error(outputs[-1], clip_reference(model, program, clip)) <= 1e-10


@pytest.mark.parametrize("window", [1, 3, 8])
def test_results_are_valid_from_the_first_full_window_on(window: int) -> None:
    program = convert(small_network(), (3, 8, 6, 6), window=window)
    stream = open_stream(program)
    valid = [bool(stream.step(torch.zeros(1, *FRAME)).valid) for _ in range(20)]
    assert valid.index(True) == program.first_valid_step == program.delay + window - 1
    assert all(valid[program.first_valid_step :])


def test_flush_ends_a_video_and_reset_starts_another() -> None:
    torch.manual_seed(0)
    model = randomise_(small_network()).double()
    program = convert(model, (3, 8, 6, 6), edges="both")
    first, second = make_clips([8, 8], FRAME, torch.float64)
    stream = open_stream(program, precision="float64")
    for clip in (first, second):
        for step in range(8):
            result = stream.step(clip[None, :, step])
        flushed = stream.flush()
        assert len(flushed) == program.delay
        assert stream.flush() == []
        assert bool(flushed[-1].valid)
        expected = clip_reference(model, program, clip)
        assert relative_error(flushed[-1].output[0], expected) <= 1e-10
        assert relative_error(result.output[0], expected) > 1e-6
        stream.reset()


def test_a_flush_of_an_unused_stream_has_no_results() -> None:
    stream = open_stream(convert(stem(), (3, 4, 6, 6), edges="both"))
    assert stream.flush() == []
