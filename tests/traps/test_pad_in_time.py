"""Trap: padding before a clip changes the index of its elements, not the time when they are known.

Element 2 of a clip padded with two frames is frame 0. If padding counted as a negative delay, steps
would read frames that have not come. Only values show that, and with zero padding hardly they.
"""

import pytest
import torch.nn.functional as F
from torch import nn

from co3d.compiler import convert
from support.mutations import EXACT, Case, Subject
from support.networks import Apply, stem
from support.rule_networks import SHAPE

PADS = [(2, 0), (0, 2), (3, 1), (5, 0), (-1, 2), (2, -1), (-2, -1)]


@pytest.mark.parametrize("pads", PADS)
def test_padded_values_are_combined_with_the_right_frames(pads: tuple[int, int]) -> None:
    """Padded before the stem with one value and after it with another, then added and convolved."""
    flat = (0, 0, 0, 0, *pads)

    def make() -> nn.Module:
        return Apply(
            lambda m, x: m.conv(
                F.pad(m.stem(x), flat, value=1.0) + m.stem(F.pad(x, flat, value=-0.5))
            ),
            stem=stem(),
            conv=nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0)),
        )

    assert Subject(Case(make, 1)).error() <= EXACT


@pytest.mark.parametrize("pads", PADS)
def test_no_value_is_ready_before_its_frames(pads: tuple[int, int]) -> None:
    program = convert(Apply(lambda m, x: F.pad(x, (0, 0, 0, 0, *pads), value=1.0)), SHAPE)
    before, after = pads
    # A crop at the end delays a frame by the frames that it removes.
    assert program.delay == max(0, -before, -(before + after))
    delays = {row.name: row.delay for row in program.rows}
    for row in program.rows:
        for name, offsets in row.reads:
            assert all(row.delay - offset - delays[name] >= 0 for offset in offsets)
