"""Trap: small axes of time and channels cannot be distinguished by their sizes.

For a pooled value with one channel neither shape nor stride tells which axis of size one was time.
In a clip of two frames, a shift leaves a constant next to it along time as well as channels.
"""

from collections.abc import Callable

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from support.clip_functions import shift_by_cat, shift_by_writing, shift_time_first
from support.networks import Apply, stem
from support.streaming import randomise_, worst_error

POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda x: F.adaptive_avg_pool3d(x, 1).flatten(1),
    "view": lambda x: F.adaptive_avg_pool3d(x, 1).view(-1, x.shape[1]),
    "mean": lambda x: x.mean((3, 4)).mean(2),
}
SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "concatenated": shift_by_cat,
    "written": shift_by_writing,
    "time first": lambda x: shift_time_first(x.transpose(1, 2)).transpose(1, 2),
}


@pytest.mark.parametrize("pool", POOLS)
def test_a_head_of_one_channel_equals_the_clip(pool: str) -> None:
    model = Apply(
        lambda m, x: m.fc(POOLS[pool](m.narrow(m.stem(x)))),
        stem=stem(),
        narrow=nn.Conv3d(4, 1, (3, 1, 1), padding=(1, 0, 0)),
        fc=nn.Linear(1, 3),
    )
    randomise_(model).double()
    program = convert(model, (3, 8, 6, 6), edges="both")
    assert worst_error(model, program, [8]) <= 1e-10


@pytest.mark.parametrize("frames", [6, 9])
@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_of_two_frames_equals_the_clip(shift: str, frames: int) -> None:
    """After a stride of 3, six frames are two elements and nine are three."""
    model = Apply(
        lambda m, x: m.after(SHIFTS[shift](m.down(m.stem(x)))),
        stem=stem(),
        down=nn.Conv3d(4, 4, (3, 1, 1), (3, 1, 1), (1, 0, 0)),
        after=nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0)),
    )
    randomise_(model).double()
    program = convert(model, (3, frames, 6, 6), edges="both")
    assert worst_error(model, program, [6, 9, 15], time_axis=1) <= 1e-10
