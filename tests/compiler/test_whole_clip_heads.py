"""Heads over a whole clip: layers over all frames, selections of frames, and heads over space."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.streaming import make_clips, randomise_, relative_error, run_steps, worst_error

SHAPE = (3, 8, 6, 6)
Forward = Callable[[nn.Module, Tensor], Tensor]


def flatten_after_a_pool(m: nn.Module, x: Tensor) -> Tensor:
    return F.max_pool3d(m.stem(x), 2).view(len(x), -1)


# Each with the layer `head`, and the window of its results.
HEADS: dict[str, tuple[Forward, Callable[[], nn.Module], int | None]] = {
    "flatten": (lambda m, x: m.head(m.stem(x).flatten(1)), lambda: nn.Linear(4 * 8 * 36, 5), 8),
    "flatten behind a pool": (
        lambda m, x: m.head(flatten_after_a_pool(m, x)).relu(),
        lambda: nn.Linear(4 * 4 * 9, 5),
        4,
    ),
    "linear along time": (
        lambda m, x: m.head(m.stem(x).mean((3, 4))).flatten(1),
        lambda: nn.Linear(8, 3),
        8,
    ),
    "frames as channels": (
        lambda m, x: m.head(m.stem(x).transpose(1, 2).flatten(1, 2)).mean((2, 3)),
        lambda: nn.Conv2d(32, 5, 3),
        8,
    ),
    "channels of frames": (
        lambda m, x: m.head(m.stem(x).flatten(1, 2)).mean((2, 3)),
        lambda: nn.Conv2d(32, 5, 3),
        8,
    ),
    "first frame": (lambda m, x: m.head(m.stem(x)[:, :, 0]), lambda: nn.Conv2d(4, 5, 3), 8),
    "middle frame": (lambda m, x: m.head(m.stem(x)[:, :, 4]), lambda: nn.Conv2d(4, 5, 3), 4),
    "last frame": (lambda m, x: m.head(m.stem(x)[:, :, -1]), lambda: nn.Conv2d(4, 5, 3), None),
    "first to last": (
        lambda m, x: m.head(m.stem(x)[:, :, 0] - m.stem(x)[:, :, -1]),
        lambda: nn.Conv2d(4, 5, 3),
        8,
    ),
    "relation of three frames": (
        lambda m, x: m.head(
            torch.cat([m.stem(x)[:, :, i].mean((2, 3)) for i in (1, 4, 6)], 1)
        ).relu(),
        lambda: nn.Linear(12, 5),
        7,
    ),
    "frames by a table": (
        lambda m, x: m.head(m.stem(x)[:, :, [1, 6, 3]].mean((3, 4)).flatten(1)),
        lambda: nn.Linear(12, 5),
        7,
    ),
    "mean, then space": (
        lambda m, x: F.max_pool2d(m.head(m.stem(x).mean(2)), 2),
        lambda: nn.Conv2d(4, 5, 3),
        8,
    ),
    "pool as long as the clip, then space": (
        lambda m, x: m.head(F.avg_pool3d(m.stem(x), (8, 1, 1)).squeeze(2)),
        lambda: nn.Conv2d(4, 5, 3),
        8,
    ),
    "mean, then larger": (
        lambda m, x: F.interpolate(m.head(m.stem(x).mean(2)), scale_factor=2, mode="bilinear"),
        lambda: nn.ConvTranspose2d(4, 5, 3),
        8,
    ),
    "mean, then a norm over space": (
        lambda m, x: m.head(m.stem(x).mean(2)).mean((2, 3)),
        lambda: nn.GroupNorm(2, 4),
        8,
    ),
}


def build(name: str) -> nn.Module:
    forward, head, _ = HEADS[name]
    torch.manual_seed(0)
    return randomise_(Apply(forward, stem=stem(), head=head())).double()


@pytest.mark.parametrize("name", HEADS)
def test_a_head_equals_the_clip(name: str) -> None:
    model = build(name)
    program = convert(model, SHAPE, edges="both")
    assert program.window == HEADS[name][2]
    assert not program.approximations
    assert worst_error(model, program, [8, 8]) <= 1e-10


@pytest.mark.parametrize("name", HEADS)
def test_a_head_slides_by_one_frame(name: str) -> None:
    """Without strides each step equals the network's last result for all frames so far."""
    if "pool" in name:
        return
    model = build(name)
    program = convert(model, SHAPE, edges="both")
    (clip,) = make_clips([13], (3, 6, 6), torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        # The last frames of a clip are padded behind; a stream's are not until it ends.
        features = model.stem(clip[None])
        newest = Apply(model.function, stem=nn.Identity(), head=model.head)(features[:, :, -8:])
    assert relative_error(outputs[-1], newest[0]) <= 1e-10


def test_other_windows_are_refused() -> None:
    for name in ("flatten", "first frame"):
        with pytest.raises(ConversionError, match="window=12"):
            convert(build(name), SHAPE, window=12)


def test_verification_skips_lengths_that_a_head_cannot_take() -> None:
    found = co3d.verify(build("frames by a table"), SHAPE)
    found.require()
    assert any("clips of 3 frames left out" in note for note in found.notes)


def test_a_pooled_element_is_not_mistaken_for_a_channel() -> None:
    model = Apply(lambda m, x: m.head(m.stem(x).mean(2, keepdim=True).mean((3, 4))), stem=stem())
    model.head = nn.Linear(1, 3)
    with pytest.raises(ConversionError, match="the one element that a pool over time has left"):
        convert(model, SHAPE)
