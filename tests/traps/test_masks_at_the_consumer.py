"""Trap: outside the clip each reader of a value has its own padding, so no value has *one* mask.

A convolution needs zeros there, a maximum minus infinity. Masking the value once, where it is made,
is right for one of them. And a masked element may be infinite, so that multiplying it by zero does
not remove it.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from support.mutations import EXACT, Case, Subject
from support.networks import Apply, stem
from support.rule_networks import SHAPE, stem_after
from support.streaming import make_clips, run_steps


def test_a_maximum_of_negative_values_is_never_the_padding() -> None:
    model = Apply(lambda m, x: F.max_pool3d(-1 - x.abs(), (3, 1, 1), 1, (1, 0, 0))).double()
    program = convert(model, SHAPE, edges="both")
    clips = make_clips([8, 5], program.frame_shape, program.dtype)
    for clip, outputs in zip(clips, run_steps(program, clips), strict=True):
        assert torch.equal(torch.stack(outputs[program.delay :], 1), model(clip[None])[0])


def test_two_readers_of_one_value_each_see_their_own_padding() -> None:
    def make() -> nn.Module:
        return Apply(
            lambda m, x: m.conv(m.stem(x)) + F.max_pool3d(m.stem(x), (3, 1, 1), 1, (1, 0, 0)),
            stem=stem(),
            conv=stem_after(3),
        )

    program = convert(make(), SHAPE)
    assert sorted(spec.fill for spec in program.states if spec.shape[0] == 4) == [-torch.inf, 0]
    assert Subject(Case(make, 1)).error() <= EXACT


def test_infinite_values_outside_the_clip_are_masked() -> None:
    def make() -> nn.Module:
        # A flush steps with blank frames, of which this is minus infinity.
        return Apply(lambda m, x: m.conv(m.plane(x).abs().log()), plane=plane, conv=stem_after(3))

    torch.manual_seed(0)
    plane = nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0), bias=False)
    assert Subject(Case(make, 1)).error() <= EXACT


def choose_by_the_frame_before(m: nn.Module, x: Tensor) -> Tensor:
    before = F.pad(m.stem(x)[:, :, :-1] > 0, (0, 0, 0, 0, 1, 0), value=True)
    return torch.where(before, m.stem(x), x[:, :1])


def largest_level(m: nn.Module, x: Tensor) -> Tensor:
    return (m.stem(x) * 10).long().amax(2).to(x.dtype).mean((2, 3))


@pytest.mark.parametrize(
    ("forward", "axis"), [(choose_by_the_frame_before, 1), (largest_level, None)]
)
def test_padding_keeps_the_dtype_of_a_value(forward: object, axis: int | None) -> None:
    """Bool stays bool, and integers stay integers."""
    # No clip is longer than the window.
    case = Case(lambda: Apply(forward, stem=stem()), axis, lengths=(8, 5))
    assert Subject(case).error() <= EXACT
