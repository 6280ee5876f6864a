"""Time split into groups of frames, folded into one axis with all others, or used as width."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.streaming import randomise_, worst_error

SHAPE = (3, 8, 6, 6)
Forward = Callable[[nn.Module, Tensor], Tensor]


def pairs_as_channels(m: nn.Module, x: Tensor) -> Tensor:
    """(N, 8, C, H, W) -> (N·4, 2·C, H, W): each picture is made of two frames."""
    y = m.stem(x).transpose(1, 2).reshape(len(x) * 4, 8, 6, 6)
    return m.inner(y).view(len(x), 4, 5, 4, 4).mean((1, 3, 4))


def clips_of_a_clip(m: nn.Module, x: Tensor) -> Tensor:
    """Two segments of four frames, each a clip, and the mean of their results."""
    y = m.stem(x).transpose(1, 2).reshape(-1, 4, 4, 6, 6).transpose(1, 2)
    return m.inner(y).mean((2, 3, 4)).view(-1, 2, 5).mean(1)


def overlapping_groups(m: nn.Module, x: Tensor) -> Tensor:
    """Frames 0 to 2 and 2 to 4 of (N, T·C, H, W), as in networks for denoising."""
    y = m.stem(x).transpose(1, 2).flatten(1, 2)
    return m.inner(torch.cat([y[:, 4 * i : 4 * i + 12] for i in (0, 2)], 1)).mean((2, 3))


def time_as_width(m: nn.Module, x: Tensor) -> Tensor:
    """(N, C, H, T), as in networks for audio spectra."""
    y = m.stem(x).mean(4).transpose(2, 3)
    y = F.avg_pool2d(F.max_pool2d(m.inner(y), (3, 2)), (1, 3), (1, 1), (0, 1))
    return y.mean((2, 3))


# Network, its layer, its temporal stride.
NETWORKS: dict[str, tuple[Forward, Callable[[], nn.Module], int]] = {
    "pairs as channels": (pairs_as_channels, lambda: nn.Conv2d(8, 5, 3), 2),
    "clips of a clip": (clips_of_a_clip, lambda: nn.Conv3d(4, 5, 3, padding=1), 4),
    "maxima of pairs": (
        lambda m, x: m.inner(m.stem(x)).unflatten(2, (4, 2)).amax(3).mean((2, 3, 4)),
        lambda: nn.Conv3d(4, 5, 1),
        2,
    ),
    "groups side by side": (overlapping_groups, lambda: nn.Conv2d(24, 5, 3), 1),
    "time as width": (time_as_width, lambda: nn.Conv2d(4, 5, (3, 5), padding=(1, 2)), 2),
    "mean of all in one axis": (
        lambda m, x: m.inner(m.stem(x)).flatten(2).mean(-1),
        lambda: nn.Conv3d(4, 5, 1),
        1,
    ),
    "maximum of all in one axis, which is kept": (
        lambda m, x: m.inner(m.stem(x)).flatten(2).amax(-1, keepdim=True).flatten(1),
        lambda: nn.Conv3d(4, 5, 1),
        1,
    ),
    "mean of space in one axis": (
        lambda m, x: m.inner(m.stem(x)).flatten(3).mean(-1).mean(2),
        lambda: nn.Conv3d(4, 5, 1),
        1,
    ),
    "constants of every row": (
        lambda m, x: (
            m.inner(m.stem(x)) * torch.full((len(x), 5, 1, 1, 1), 2.0)
            + torch.ones(len(x), 1, 1, 1, 1)
        ).mean((2, 3, 4)),
        lambda: nn.Conv3d(4, 5, 1),
        1,
    ),
}


def build(name: str) -> nn.Module:
    forward, inner, _ = NETWORKS[name]
    torch.manual_seed(0)
    return randomise_(Apply(forward, stem=stem(), inner=inner())).double()


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_equal_clips(name: str, rate: str) -> None:
    model = build(name)
    program = convert(model, SHAPE, edges="both", rate=rate)  # type: ignore[arg-type]
    assert program.temporal_stride == NETWORKS[name][2]
    assert not program.approximations
    assert worst_error(model, program, [8, 8, 8]) <= 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_the_clip_graph_takes_any_batch_size(name: str) -> None:
    model = build(name)
    program = convert(model, SHAPE)
    clips = torch.randn(3, *SHAPE, dtype=torch.float64)
    with torch.inference_mode():
        # One by one: some of these networks take no batch size but the exported one.
        expected = torch.cat([model(clip[None]) for clip in clips])
        assert torch.allclose(program.clip_graph(clips), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["pairs as channels", "clips of a clip", "time as width"])
def test_every_value_equals_its_clip(name: str) -> None:
    co3d.verify(build(name), SHAPE, lengths=[]).require()


REFUSED: dict[str, tuple[Forward, str]] = {
    "frames that are cut": (
        lambda m, x: m.stem(x).transpose(1, 2).reshape(len(x), 16, 2, 6, 6).mean((1, 2)),
        "it treats time and what is folded into its axis as one",
    ),
    "half a frame's channels": (
        lambda m, x: m.stem(x).transpose(1, 2).flatten(1, 2)[:, 2:6].mean((2, 3)),
        "it slices 2 to 6",
    ),
    "constants that tell rows apart": (
        lambda m, x: (m.stem(x) * torch.arange(2.0).view(2, 1, 1, 1, 1)).mean((2, 3, 4)),
        "per row of the batch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_lookalikes_are_refused(name: str) -> None:
    forward, reason = REFUSED[name]
    with pytest.raises(ConversionError, match=reason):
        convert(Apply(forward, stem=stem()), SHAPE)
