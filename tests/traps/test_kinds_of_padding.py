"""Trap: there are more ways to pad than zeros on both sides.

`padding="same"` pads even kernels unevenly, with the odd frame at the *end*. Means may exclude
padding from their divisor. Replication and reflection in time need frames that come later.
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
def test_even_kernels_pad_the_odd_frame_at_the_end(kernel: int, dilation: int) -> None:
    conv = nn.Conv3d(1, 1, (kernel, 1, 1), padding="same", dilation=(dilation, 1, 1), bias=False)
    with torch.no_grad():
        # One decimal digit per tap: the sum shows which tap multiplied which frame.
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
def test_means_have_the_clip_networks_divisor(includes: bool, rounds_up: bool) -> None:
    """The pool averages ones, so that every result shows its divisor."""

    def make() -> nn.Module:
        ones = nn.Conv3d(3, 1, 1)
        nn.init.zeros_(ones.weight)
        nn.init.ones_(ones.bias)
        pool = nn.AvgPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0), rounds_up, includes)
        return nn.Sequential(ones, pool)

    assert Subject(Case(make, 1, rate="native", lengths=(8, 5, 10))).error() <= EXACT


@pytest.mark.parametrize("mode", ["replicate", "reflect", "circular"])
def test_reflection_and_replication_are_refused_in_time_alone(mode: str) -> None:
    def conv(kernel: int) -> nn.Module:
        pads = (kernel // 2, 1, 1)
        return nn.Conv3d(3, 4, (kernel, 3, 3), padding=pads, padding_mode=mode)

    with pytest.raises(ConversionError, match="pads time"):
        convert(conv(3), SHAPE)
    assert Subject(Case(lambda: conv(1), 1)).error() <= EXACT
