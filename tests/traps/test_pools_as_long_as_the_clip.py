"""Trap: a pool over the clip may be written as a sliding pool with a kernel of the clip's length.

It is then global, and `window` applies to it. But a kernel may have that length by chance: a pool
of two frames on a value that strides have reduced to two elements.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from support.mutations import EXACT, Case, Subject
from support.networks import Apply, stem
from support.rule_networks import SHAPE
from support.streaming import make_clips, randomise_, relative_error, run_steps


def _planes() -> nn.Module:
    """A convolution within each frame, so that a window of frames equals a clip."""
    return nn.Conv3d(3, 4, (1, 3, 3))


@pytest.mark.parametrize("window", [1, 3, 8, 20])
def test_a_pool_with_the_clips_length_becomes_a_window(window: int) -> None:
    torch.manual_seed(0)
    pooled = Apply(
        lambda m, x: m.fc(F.avg_pool3d(m.planes(x), (8, 4, 4)).flatten(1)),
        planes=_planes(),
        fc=nn.Linear(4, 5),
    )
    program = convert(randomise_(pooled).double(), SHAPE, window=window, edges="both")
    assert program.window == window
    (clip,) = make_clips([24], program.frame_shape, program.dtype)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = pooled.fc(pooled.planes(clip[None])[:, :, -window:].mean((2, 3, 4)))[0]
    assert relative_error(outputs[-1], expected) <= EXACT


def test_a_pool_of_two_elements_that_are_all_becomes_a_window() -> None:
    """A head that pools two of two elements; with a longer window it is the mean of more."""
    torch.manual_seed(0)
    model = Apply(
        lambda m, x: m.score(F.avg_pool3d(m.planes(x[:, :, ::4]), (2, 4, 4), 1)).mean((2, 3, 4)),
        planes=_planes(),
        score=nn.Conv3d(4, 5, 1),
    ).double()
    program = convert(model, SHAPE, window=4, edges="both", rate="native")
    (clip,) = make_clips([16], program.frame_shape, program.dtype)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        pooled = model.planes(clip[None, :, ::4]).mean((2, 3, 4), keepdim=True)
        expected = model.score(pooled)[0, :, 0, 0, 0]
    assert relative_error(outputs[-1], expected) <= EXACT


def pool_parallel_to_a_stride(m: nn.Module, x: Tensor) -> Tensor:
    """A shortcut that pools two elements in parallel to a branch with stride 2."""
    short = m.down(m.stem(x))
    return m.fc((m.branch(short) + F.avg_pool3d(short, (2, 1, 1))).mean((2, 3, 4)))


def test_a_strided_pool_over_all_elements_is_never_silently_wrong() -> None:
    def make() -> nn.Module:
        return Apply(
            pool_parallel_to_a_stride,
            stem=stem(),
            down=nn.Conv3d(4, 4, 3, (4, 1, 1), 1),
            branch=nn.Conv3d(4, 4, 3, (2, 1, 1), 1),
            fc=nn.Linear(4, 5),
        )

    # Over two or four elements it is a pool of stride 2, as the parallel branch shows.
    for frames in (8, 16):
        torch.manual_seed(0)
        model = randomise_(make()).double()
        program = convert(model, (3, frames, 6, 6), edges="both", rate="native")
        assert program.temporal_stride == 8
        (clip,) = make_clips([frames], program.frame_shape, program.dtype)
        (outputs,) = run_steps(program, [clip])
        with torch.inference_mode():
            assert relative_error(outputs[-1], model(clip[None])[0]) <= EXACT


def test_a_maximum_over_all_elements_keeps_its_stride() -> None:
    def make() -> nn.Module:
        return Apply(lambda m, x: F.max_pool3d(m.stem(x)[:, :, ::4], (2, 1, 1)), stem=stem())

    assert Subject(Case(make, 1, lengths=(8, 16, 24))).error() <= EXACT
