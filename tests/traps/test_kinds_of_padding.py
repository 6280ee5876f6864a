"""Trap: there are more ways to pad than zeros on both sides.

`padding="same"` pads even kernels unevenly, the odd frame at the *end*; means may leave padding out
of their count; and a border that is repeated or mirrored in time needs frames that come later.
"""

import pytest
import torch
from torch import nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.mutations import EXACT, Case, Subject
from support.rule_networks import SHAPE
from support.streaming import run_steps

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)


@pytest.mark.parametrize(("kernel", "dilation"), [(2, 1), (4, 1), (4, 3)])
def test_odd_frame_of_an_even_kernels_padding_comes_last(kernel: int, dilation: int) -> None:
    conv = nn.Conv3d(1, 1, (kernel, 1, 1), padding="same", dilation=(dilation, 1, 1), bias=False)
    with torch.no_grad():
        # Decimal digits, one per tap: the sum shows which tap met which frame.
        conv.weight.copy_((10.0 ** torch.arange(kernel)).reshape(1, 1, kernel, 1, 1))
    program = convert(conv, (1, 9, 1, 1), edges="both")
    total = (kernel - 1) * dilation
    assert program.delay == total - total // 2
    clip = torch.arange(1.0, 10).reshape(1, 9, 1, 1)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = conv(clip[None])[0]
    assert torch.equal(torch.stack(outputs[program.delay :], 1), expected)


@pytest.mark.parametrize("includes", [True, False])
@pytest.mark.parametrize("rounds_up", [True, False])
def test_mean_divides_by_what_the_clip_network_counts(includes: bool, rounds_up: bool) -> None:
    """Of ones: every element shows its divisor."""

    def make() -> nn.Module:
        ones = nn.Conv3d(3, 1, 1)
        nn.init.zeros_(ones.weight)
        nn.init.ones_(ones.bias)
        pool = nn.AvgPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0), rounds_up, includes)
        return nn.Sequential(ones, pool)

    assert Subject(Case(make, 1, rate="native", lengths=(8, 5, 10))).error() <= EXACT


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
def test_borders_made_of_frames_are_refused_in_time_alone(mode: str) -> None:
    def conv(kernel: int) -> nn.Module:
        pads = (kernel // 2, 1, 1)
        return nn.Conv3d(3, 4, (kernel, 3, 3), padding=pads, padding_mode=mode)

    with pytest.raises(ConversionError, match="pads time"):
        convert(conv(3), SHAPE)
    assert Subject(Case(lambda: conv(1), 1)).error() <= EXACT
