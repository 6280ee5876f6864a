"""Registered clip networks with the approximations that streaming makes, written by hand.

Where a stream cannot be exact (gates pooled over the clip, SlowFast's uneven frame picking) a
rewrite makes the approximation; a rewrite is not its own judge.
"""

import copy

import pytest
from torch import Tensor, nn

from co3d.models import slowfast
from co3d.models.gates import SqueezeExcite


class FrameSqueezeExcite(SqueezeExcite):
    """The gate as a stream has it: pooled over each frame."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((3, 4), keepdim=True))


def pick_even_frames(frames: int, alpha: int) -> list[int]:
    """The slow pathway's frames as a stream has them."""
    return list(range(0, frames, alpha))


def make_reference(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The clip network with the approximations that streaming makes."""
    monkeypatch.setattr(slowfast, "pick_slow_frames", pick_even_frames)
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, SqueezeExcite):
            module.__class__ = FrameSqueezeExcite
    return model
