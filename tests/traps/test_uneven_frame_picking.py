"""Trap: a slow pathway may select its frames by a rounded table that is not a stride.

`linspace(0, T - 1, T // 4)`, rounded down, selects frames 0, 4, 8, 13, 17 … of 32, which depend on
the clip's length. A stream takes every fourth frame, and must list that as an approximation.
"""

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from support.networks import Apply, stem
from support.streaming import make_clips, randomise_, relative_error, run_steps

FRAMES = 32


def by_table(m: nn.Module, x: Tensor) -> Tensor:
    frames = x.shape[2]
    table = torch.linspace(0, frames - 1, frames // 4).long()
    return m.fc(m.stem(x.index_select(2, table)).mean((2, 3, 4)))


def by_stride(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(m.stem(x[:, :, ::4]).mean((2, 3, 4)))


def _network(forward: object) -> nn.Module:
    torch.manual_seed(0)
    return randomise_(Apply(forward, stem=stem(), fc=nn.Linear(4, 5))).double()


@pytest.mark.parametrize("rate", ["dense", "native"])
def test_a_rounded_table_becomes_a_listed_stride(rate: str) -> None:
    model, even = _network(by_table), _network(by_stride)
    program = convert(model, (3, FRAMES, 6, 6), edges="both", rate=rate)  # type: ignore[arg-type]
    (line,) = program.approximations
    assert "every 4th frame" in line
    assert "frames 0, 4, 8, 13, 17, 22, 26, 31" in line
    (clip,) = make_clips([FRAMES], program.frame_shape, program.dtype)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        assert relative_error(outputs[-1], even(clip[None])[0]) <= 1e-10
        assert relative_error(outputs[-1], model(clip[None])[0]) > 1e-3


def test_a_table_that_is_a_stride_is_exact_and_listed() -> None:
    """On longer clips the table selects the same frames, but a stride more."""
    table = torch.arange(0, FRAMES, 4)
    model = _network(lambda m, x: m.fc(m.stem(x.index_select(2, table)).mean((2, 3, 4))))
    (listed,) = convert(model, (3, FRAMES, 6, 6)).approximations
    assert "takes every 4th frame (0, 4, 8 …) instead of these of a clip" in listed
