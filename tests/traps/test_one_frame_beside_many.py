"""Trap: PyTorch broadcasts a value with one element in time over the frames of another.

In a stream both would have one element per frame: x - x[:, :, :1] would be x - x.
"""

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

SHAPE = (3, 8, 4, 4)
SPREAD: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "first frame": lambda _m, x: x - x[:, :, :1],
    "last frame": lambda _m, x: x + x[:, :, -1:],
    "a kernel as long as the clip": lambda m, x: x * m.long(x),
    "product of matrices": lambda _m, x: x @ x[:, :, :1],
    "similarity to the first": lambda _m, x: F.cosine_similarity(x, x[:, :, :1], 1),
    "three operands": lambda _m, x: torch.addcmul(x, x[:, :, :1], x),
    "one frame less a mean": lambda _m, x: x[:, :, 2:3] - x.mean(2, keepdim=True),
}
PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "first half": lambda y: y[:, :, :4],
    "every second": lambda y: y[:, :, ::2],
    "last three": lambda y: y[:, :, -3:],
    "maxima of pairs": lambda y: F.max_pool3d(y, (2, 1, 1)),
}


def build(forward: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    long = nn.Conv3d(4, 4, (8, 1, 1))
    return randomise_(Apply(lambda m, x: forward(m, m.stem(x)), stem=stem(), long=long)).double()


@pytest.mark.parametrize("name", SPREAD)
def test_broadcasting_one_frame_over_others_is_refused_or_rerun(name: str) -> None:
    model = build(SPREAD[name])
    with pytest.raises(ConversionError, match="elements of time"):
        convert(model, SHAPE)
    co3d.verify(model, SHAPE, fallback=True, lengths=[]).require()


@pytest.mark.parametrize("scope", ["frame", "window"])
@pytest.mark.parametrize("part", PARTS)
def test_a_gate_of_a_part_of_the_clip_is_refused(part: str, scope: str) -> None:
    def forward(_m: nn.Module, y: Tensor) -> Tensor:
        return y * PARTS[part](y).mean((2, 3, 4), keepdim=True).sigmoid()

    with pytest.raises(ConversionError, match="cannot convert"):
        convert(build(forward), SHAPE, scope=scope)  # type: ignore[arg-type]


def test_a_gate_before_a_rerun_part_converts() -> None:
    def forward(_m: nn.Module, y: Tensor) -> Tensor:
        gated = y * y.mean((2, 3, 4), keepdim=True).sigmoid()
        return gated.flip(2)[:, :, 0].mean((2, 3))

    found = co3d.verify(build(forward), SHAPE, fallback=True)
    assert found.program.approximations
    found.require()


@pytest.mark.parametrize("table", [[-1, -3], [6, 1]])
def test_negative_frame_indices_are_supported(table: list[int]) -> None:
    model = build(lambda _m, y: y[:, :, table].mean((3, 4)))
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, program, [8, 8]) <= 1e-10
    found = co3d.verify(model, SHAPE)  # a shorter clip has no frame 6
    found.require()


def test_a_pick_after_a_stride_is_verified_at_every_length() -> None:
    model = build(lambda m, y: F.max_pool3d(y, (2, 1, 1))[:, :, 1].mean((2, 3)))
    co3d.verify(model, SHAPE).require()
