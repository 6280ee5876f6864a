"""Trap: inside a gate over a clip there is one element in time, in a stream one per frame.

Operators that act on each element alone may run on all elements at once. A norm, a kernel or a sum
along time may not: over the frames of a stream it would compute another gate.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply
from support.rule_networks import SHAPE
from support.streaming import make_clips, randomise_, relative_error, run_steps

GATES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "group norm": lambda m, g: m.group(g),
    "group norm between layers": lambda m, g: m.out(m.group(m.inner(g)).relu()),
    "sum over time": lambda m, g: g.sum(2, keepdim=True),
    "variance over channels": lambda m, g: g.var(1, keepdim=True),
    "layer norm": lambda m, g: m.layer(g.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3),
    "layers alone": lambda m, g: m.out(m.inner(g).relu()),
}
ALONG_TIME: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "kernel in time": lambda m, g: m.wide(g),
    "running sum": lambda m, g: g.cumsum(2),
    "running maximum": lambda m, g: g.cummax(2).values,
    "mirrored": lambda m, g: g.flip(2),
    "rolled": lambda m, g: g.roll(1, 2),
    "softmax over time": lambda m, g: g.softmax(2) * g,
    "maximum over time": lambda m, g: F.max_pool3d(g, (3, 1, 1), 1, (1, 0, 0)),
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    gate = (GATES | ALONG_TIME)[name]

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x)
        return y * (3 * gate(m, y.mean((2, 3, 4), keepdim=True))).sigmoid()

    model = Apply(
        forward,
        stem=nn.Conv3d(3, 4, (1, 3, 3)),
        group=nn.GroupNorm(2, 4),
        layer=nn.LayerNorm(4),
        inner=nn.Conv3d(4, 4, 1),
        out=nn.Conv3d(4, 4, 1),
        wide=nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0)),
    )
    return randomise_(model).double()


@pytest.mark.parametrize("name", GATES)
def test_a_gate_over_a_full_window_equals_the_clips(name: str) -> None:
    """When the newest frames are the clip, the newest result equals the clip's."""
    model = network(name)
    program = convert(model, SHAPE, scope="window", edges="both")
    (clip,) = make_clips([SHAPE[1]], (SHAPE[0], *SHAPE[2:]), torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        expected = model(clip[None])[0, :, -1]
    assert relative_error(outputs[-1], expected) < 1e-10


@pytest.mark.parametrize("name", GATES)
def test_a_gate_per_frame_equals_that_of_a_one_frame_clip(name: str) -> None:
    model = network(name)
    program = convert(model, SHAPE, scope="frame", edges="both")
    (clip,) = make_clips([SHAPE[1]], (SHAPE[0], *SHAPE[2:]), torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        alone = [model(clip[None, :, t : t + 1])[0, :, 0] for t in range(SHAPE[1])]
    assert relative_error(torch.stack(outputs[program.delay :]), torch.stack(alone)) < 1e-10


@pytest.mark.parametrize("scope", ["frame", "window"])
@pytest.mark.parametrize("name", ALONG_TIME)
def test_gates_with_operators_along_time_are_refused_or_rerun(name: str, scope: str) -> None:
    model = network(name)
    with pytest.raises(ConversionError, match="cannot run frame by frame"):
        convert(model, SHAPE, scope=scope)
    program = convert(model, SHAPE, scope=scope, fallback=True)
    assert program.fallbacks
    assert not program.approximations
