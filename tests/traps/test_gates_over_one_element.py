"""Trap: if strides leave one element of the training clip, a pool over time looks like a no-op.

Over longer videos it still pools. So a gate after it is an approximation that must be listed, and a
head after it has a window, as with two elements.
"""

from collections.abc import Callable

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from support.networks import Apply, stem

POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda x: x.mean((2, 3, 4), keepdim=True),
    "adaptive pool": lambda x: F.adaptive_avg_pool3d(x, 1),
}
# Frames of the training clip -> elements after a stride of 8.
LENGTHS = {8: 1, 16: 2}


def _after_a_stride(forward: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    return Apply(
        lambda m, x: forward(m, m.down(m.stem(x))),
        stem=stem(),
        down=nn.Conv3d(4, 4, 3, (8, 1, 1), 1),
        gate=nn.Conv3d(4, 4, 1),
        fc=nn.Linear(4, 5),
    )


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("pool", POOLS)
def test_the_gate_is_listed_as_an_approximation(pool: str, frames: int) -> None:
    model = _after_a_stride(
        lambda m, x: m.fc((x * m.gate(POOLS[pool](x)).sigmoid()).mean((2, 3, 4)))
    )
    program = convert(model, (3, frames, 6, 6))
    assert len(program.approximations) == 1


@pytest.mark.parametrize("frames", LENGTHS)
@pytest.mark.parametrize("pool", POOLS)
def test_the_head_has_a_window(pool: str, frames: int) -> None:
    model = _after_a_stride(lambda m, x: m.fc(POOLS[pool](x).flatten(1)))
    assert convert(model, (3, frames, 6, 6)).window == LENGTHS[frames]
    assert convert(model, (3, frames, 6, 6), window=4).window == 4
