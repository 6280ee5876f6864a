"""Trap: pools of a slow and a fast pathway must be combined for the same *clip*.

Their newest elements do not stand for the same frame: of frames 0 … 7 a pathway with stride 4 has
frame 4 as its last, and is ready three frames before the other.
"""

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from support.networks import Apply
from support.streaming import run_steps

SHAPE = (1, 8, 1, 1)


def mean_of_each_rate(_: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([x[:, :, ::4].mean((2, 3, 4)), x.mean((2, 3, 4))], 1)


def _count(frames: int) -> Tensor:
    """A clip whose frame t is filled with t."""
    return torch.arange(float(frames)).reshape(1, frames, 1, 1)


def test_every_step_pools_the_newest_clip_at_both_rates() -> None:
    program = convert(Apply(mean_of_each_rate), SHAPE)
    assert program.receptive_field == 8
    (outputs,) = run_steps(program, [_count(20)])
    for newest in range(7, 20):
        clip = torch.arange(newest - 7.0, newest + 1)
        assert outputs[newest].tolist() == [clip[::4].mean().item(), clip.mean().item()]


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_results_of_native_rate_come_at_the_ends_of_clips(clips: int) -> None:
    program = convert(Apply(mean_of_each_rate), SHAPE, rate="native", edges="both")
    (outputs,) = run_steps(program, [_count(4 + 4 * clips)])
    frames = torch.arange(4.0 + 4 * clips)[-8:]
    assert outputs[-1].tolist() == [frames[::4].mean().item(), frames.mean().item()]


def test_window_is_counted_in_elements_of_the_slowest() -> None:
    program = convert(Apply(mean_of_each_rate), SHAPE, window=3)
    (outputs,) = run_steps(program, [_count(20)])
    frames = torch.arange(8.0, 20)
    assert outputs[-1].tolist() == [frames[::4].mean().item(), frames.mean().item()]
