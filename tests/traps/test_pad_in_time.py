"""Trap: frames put before a clip make its elements *earlier* by count, but not known any earlier.

Element 2 of a clip padded with two frames is frame 0. Counted as a negative delay, the padding has
a step read frames that have not come, and nothing but the values shows it: least of all where the
padding is zero.
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
def test_padded_values_meet_others_in_time(pads: tuple[int, int]) -> None:
    """Padded before the stem with one value, after it with another, added and convolved."""
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
    # A frame that a crop may cut off is kept when as many have followed as the crop takes.
    assert program.delay == max(0, -before, -(before + after))
    delays = {row.name: row.delay for row in program.rows}
    for row in program.rows:
        for name, offsets in row.reads:
            assert all(row.delay - offset - delays[name] >= 0 for offset in offsets)
