"""State has the size of a formula that is computed without the compiler.

The formula: every value that is read later is kept back to its oldest read, in float32;
`support/state_ledger.py` computes how far that is. The networks have one path, except SlowFast,
whose pathways are joined five times: the ledger follows both.
"""

import pytest
import torch
from torch import nn

from co3d.compiler import convert
from co3d.models import create_model
from support.clip_references import make_reference
from support.networks import Classifier, Residual, stem
from support.registry import STEPPED, short_clip_frames
from support.slow import slow_but
from support.state_ledger import count_state_elements

QUICK = ("camera_motion", "i3d_r50")
# The ledger follows neither the shifts nor the running sums of these networks.
UNKNOWN = ("tsm_", "movinet_a0_stream")
NAMES = slow_but([name for name in STEPPED if not name.startswith(UNKNOWN)], *QUICK)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_as_large_as_the_formula(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model(name, weights="random")
    side = model.min_side_px
    clip_shape = (3, short_clip_frames(model.card), side, side)
    program = convert(model, clip_shape)
    expected = count_state_elements(make_reference(model, monkeypatch), torch.zeros(1, *clip_shape))
    assert program.state_bytes == 4 * expected
    if program.temporal_stride > 1:
        assert convert(model, clip_shape, rate="native").state_bytes < program.state_bytes


def test_the_ledger_equals_a_sum_by_hand() -> None:
    """Two residual blocks: the second's kernel of 5 frames reads older ones than its shortcut."""
    network = Classifier(
        nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0)),
        Residual(),
        Residual(kernel=5),
        nn.MaxPool3d((2, 1, 1)),
    )
    frame = 6 * 6
    elements = (
        2 * 3 * frame  # the clip, for the stem
        + 2 * 4 * frame  # the stem's output, for the first convolution; its shortcut needs 1
        + 4 * 4 * frame  # the first block's output, likewise
        + 1 * 4 * frame  # the second block's output, for the pool
        + 3 * 2 * 4  # four pooled elements, two frames apart; the newest is not kept
    )
    assert count_state_elements(network.eval(), torch.zeros(1, 3, 8, 6, 6)) == elements
    assert convert(network, (3, 8, 6, 6)).state_bytes == 4 * elements


def test_depthwise_taps_are_kept_if_they_are_smaller_than_their_frames() -> None:
    network = Classifier(
        nn.Conv3d(3, 4, 1),
        nn.Conv3d(4, 4, 3, (1, 2, 2), 1, groups=4),
        nn.Conv3d(4, 4, 3, (1, 1, 1), 1, groups=4),
    )
    small = 4 * 3 * 3
    elements = (
        (2 + 1) * small  # of the first two taps; the frames would be 2 of 4 * 6 * 6
        + 2 * small  # the frames of the second, which makes them no smaller
        + 7 * 4
    )
    assert count_state_elements(network.eval(), torch.zeros(1, 3, 8, 6, 6)) == elements
    assert convert(network, (3, 8, 6, 6)).state_bytes == 4 * elements


def test_a_value_kept_only_for_a_delay_line_is_counted() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.late = stem(), nn.Conv3d(4, 4, (7, 1, 1), padding=(3, 0, 0))
            self.shortcut = nn.Conv3d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.shortcut(x) + self.late(x)

    elements = (2 * 3 + 6 * 4 + 3 * 4) * 36 + 7 * 4
    network = Classifier(Beside()).eval()
    assert count_state_elements(network, torch.zeros(1, 3, 8, 6, 6)) == elements
    assert convert(network, (3, 8, 6, 6)).state_bytes == 4 * elements
