"""Trap: time is where the network put it, and a view may have the exported batch in its sizes.

Heads permute and reshape. Sizes do not tell which axis is time, least of all in a clip whose axes
are equally long; and a view written for two streams must run for any number.
"""

import pytest
import torch
from torch import Tensor, nn

from co3d.errors import ConversionError
from co3d.stream import convert
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
    """Scores per place, probabilities of each, and their mean over time first."""

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
def test_axes_of_one_size_are_told_apart_for_any_batch(forward: object, slots: int) -> None:
    model = _alike(forward)
    program = convert(model, ALIKE, edges="both")
    assert worst_error(model, program, [4] * slots) <= EXACT
    assert program.clip_graph(torch.zeros(slots, *ALIKE, dtype=program.dtype)).shape == (slots, 4)


def test_time_merged_with_rows_is_refused() -> None:
    def merge(m: nn.Module, x: Tensor) -> Tensor:
        rows = m.stem(x).permute(0, 3, 2, 4, 1).reshape(x.shape[0], 4, 16, 4)
        return m.fc(rows).amax((1, 2))

    with pytest.raises(ConversionError, match="merges or splits the time axis"):
        convert(_alike(merge), ALIKE)
