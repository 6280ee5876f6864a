"""Trap: any axis may be time, and views may contain the exported batch size.

Heads permute and reshape. Sizes do not tell which axis is time, least of all if all axes have the
same size. And a view exported for two streams must run for any number.
"""

import pytest
import torch
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from co3d.compiler.program import Rate
from co3d.errors import ConversionError
from support.mutations import EXACT, Case, Subject
from support.networks import Apply, stem
from support.streaming import randomise_, worst_error

# As many channels, frames, rows and columns, and as many classes.
ALIKE = (4, 4, 4, 4)


@pytest.mark.parametrize(
    ("order", "time"),
    [((0, 2, 3, 4, 1), 1), ((0, 4, 2, 3, 1), 2), ((0, 3, 4, 2, 1), 3), ((0, 4, 3, 2, 1), 3)],
)
def test_permuted_clip_is_pooled_over_time(order: tuple[int, ...], time: int) -> None:
    """Scores per position, their probabilities, and the mean of these, over time first."""

    def make() -> nn.Module:
        return Apply(
            lambda m, x: m.fc(m.stem(x).permute(order)).softmax(-1).mean(time).mean((1, 2)),
            stem=stem(),
            fc=nn.Linear(4, 5),
        )

    assert Subject(Case(make, reference="sliding")).error() <= EXACT


def merge_places(m: nn.Module, x: Tensor) -> Tensor:
    frames = m.stem(x).transpose(1, 2).reshape(x.shape[0], 4, 4, 16)
    return m.fc(frames.amax(3)).mean(1)


def fold_frames(m: nn.Module, x: Tensor) -> Tensor:
    frames = m.stem(x).transpose(1, 2).reshape(x.shape[0] * 4, 4, 4, 4)
    return m.fc(frames.amax((2, 3))).view(x.shape[0], 4, 4).mean(1)


def places_first(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.stem(x).permute(0, 3, 4, 2, 1).reshape(x.shape[0], 16, 4, 4).amax(1)).mean(1)


def _alike(forward: object) -> nn.Module:
    torch.manual_seed(0)
    model = Apply(forward, stem=nn.Conv3d(4, 4, 3, padding=1), fc=nn.Linear(4, 4))
    return randomise_(model).double()


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("forward", [merge_places, fold_frames, places_first])
def test_axes_of_equal_size_are_distinguished_for_any_batch(forward: object, slots: int) -> None:
    model = _alike(forward)
    program = convert(model, ALIKE, edges="both")
    assert worst_error(model, program, [4] * slots) <= EXACT
    assert program.clip_graph(torch.zeros(slots, *ALIKE, dtype=program.dtype)).shape == (slots, 4)


def test_time_merged_with_rows_is_refused() -> None:
    def merge(m: nn.Module, x: Tensor) -> Tensor:
        rows = m.stem(x).permute(0, 3, 2, 4, 1).reshape(x.shape[0], 4, 16, 4)
        return m.fc(rows).amax((1, 2))

    with pytest.raises(ConversionError, match="treats time and what is folded"):
        convert(_alike(merge), ALIKE)


class FoldOne(nn.Module):
    """Reduces five frames to one element by a stride, and folds time into the batch."""

    def __init__(self, channels: int, *, fixed: bool = False) -> None:
        super().__init__()
        self.down = nn.Conv3d(3, channels, (3, 1, 1), stride=(4, 1, 1))
        self.picture = nn.Conv2d(channels, 4, 3, padding=1)
        self.fixed = fixed

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        folded = x.transpose(1, 2).reshape(len(x) if self.fixed else -1, x.shape[1], *x.shape[3:])
        made = self.picture(folded).flatten(1).relu().view(-1, 4, *x.shape[3:])
        return made.view(len(x), x.shape[2], *made.shape[1:]).transpose(1, 2)


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize("channels", [1, 4])
def test_one_element_in_time_is_folded_like_several(channels: int, rate: Rate) -> None:
    """An axis of size 1 may be time or a channel, or be missing: sizes do not tell."""
    torch.manual_seed(0)
    model = randomise_(FoldOne(channels)).double()
    program = convert(model, (3, 5, 4, 4), rate=rate, edges="both")
    # Streams that go on: as many elements as the model makes of longer clips.
    assert worst_error(model, program, [5, 6, 11, 14], time_axis=1) <= EXACT


def test_one_element_is_not_folded_if_longer_clips_cannot_be() -> None:
    """The element is the last one of the clip, and only operators over space follow."""
    torch.manual_seed(0)
    model = randomise_(FoldOne(4, fixed=True)).double()
    co3d.verify(model, (3, 5, 4, 4), lengths=[]).require()


def test_results_of_a_clip_are_combined_whatever_their_strides() -> None:
    """Reshapes that could be folds of time, in a network that takes one clip length."""

    def join(m: nn.Module, x: Tensor) -> Tensor:
        pathways = (m.down(x), x[:, :, ::8])
        spread = [p.amax((3, 4)).transpose(1, 2).reshape(len(x), p.shape[1]) for p in pathways]
        return m.fc(torch.cat(spread, 1))

    torch.manual_seed(0)
    model = Apply(join, down=nn.Conv3d(3, 4, (5, 1, 1)), fc=nn.Linear(7, 3))
    model = randomise_(model).double()
    assert worst_error(model, convert(model, (3, 5, 4, 4), edges="both"), [5]) <= EXACT
