"""Trap: a pool over the clip whose result is combined with frames again looks like a gate.

A gate scales the features that it pooled, and may pool each frame alone instead. A clip minus its
mean over time, pooled frame by frame, would be x - x = 0: a stream that ignores its input.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler import convert
from co3d.compiler.rules.sliding import sliding_mean
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.rule_networks import SHAPE
from support.streaming import make_clips, randomise_, relative_error, run_steps

Function = Callable[[nn.Module, Tensor, Callable[[Tensor], Tensor]], Tensor]


def subtract(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    return m.conv(x - mean(x))


def divide(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    return m.conv(x / (1 + mean(x).abs()))


def add_context(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    y = m.stem(x)
    return y + m.context(mean(y))


def scale_other_features(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    return m.stem(x) * m.narrow(mean(x)).sigmoid()


def subtract_and_scale(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    y = m.stem(x)
    pooled = mean(y)
    return (y - pooled) * y * m.context(pooled).sigmoid()


def concatenate_with_frames(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    return m.conv(mean(x).expand_as(x) - x)


def network(function: Function, mean: Callable[[Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    model = Apply(
        lambda m, x: function(m, x, mean),
        stem=stem(),
        conv=stem(),
        context=nn.Conv3d(4, 4, 1),
        narrow=nn.Conv3d(3, 4, 1),
    )
    return randomise_(model).double()


def over_time(x: Tensor) -> Tensor:
    return x.mean(2, keepdim=True)


@pytest.mark.parametrize("scope", ["frame", "window"])
@pytest.mark.parametrize(
    "function",
    [
        subtract,
        divide,
        add_context,
        scale_other_features,
        subtract_and_scale,
        concatenate_with_frames,
    ],
)
def test_other_pools_see_the_newest_frames_and_are_listed(function: Function, scope: str) -> None:
    program = convert(network(function, over_time), SHAPE, scope=scope, edges="both")
    (line,) = program.approximations
    assert line.endswith("pools the newest frames instead of the whole clip")
    slid = network(function, lambda x: sliding_mean(x, SHAPE[1]))
    clips = make_clips([8, 5, 11], (SHAPE[0], *SHAPE[2:]), torch.float64)
    with torch.inference_mode():
        for outputs, clip in zip(run_steps(program, clips), clips, strict=True):
            frames = torch.stack(outputs[program.delay :], 1)
            assert relative_error(frames, slid(clip[None])[0]) < 1e-10


def test_a_clip_minus_its_mean_depends_on_its_input() -> None:
    model = Apply(lambda m, x: m.conv(x - over_time(x)).mean((2, 3, 4)), conv=stem())
    program = convert(model, SHAPE)
    first, second = (
        outputs[-1]
        for outputs in run_steps(program, make_clips([12, 12], (3, 6, 6), torch.float32))
    )
    assert (first - second).abs().max() > 1e-3
    assert len(program.approximations) == 1
    co3d.verify(model, SHAPE, lengths=[]).require()


@pytest.mark.parametrize("scope", ["frame", "window"])
def test_a_maximum_that_is_not_a_gate_is_refused(scope: str) -> None:
    model = Apply(lambda m, x: m.conv(x - x.amax(2, keepdim=True)), conv=stem())
    with pytest.raises(ConversionError, match="only means over time"):
        convert(model, SHAPE, scope=scope)


def two_pools(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    y = m.stem(x)
    return y * (m.context(mean(y)) + m.context(y.amax(2, keepdim=True))).sigmoid()


def scale_twice(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    y = m.stem(x)
    gate = m.context(mean(y.mean((3, 4), keepdim=True))).sigmoid()
    return gate * y + y


def pool_space_first(m: nn.Module, x: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
    y = m.stem(x)
    return y * m.context(mean(F.avg_pool3d(y, (1, 6, 6)))).sigmoid()


@pytest.mark.parametrize("function", [two_pools, scale_twice, pool_space_first])
def test_a_pool_that_scales_its_features_is_a_gate(function: Function) -> None:
    program = convert(network(function, over_time), SHAPE)
    assert program.approximations
    assert all(
        line.endswith("pools each frame instead of the whole clip")
        for line in program.approximations
    )
