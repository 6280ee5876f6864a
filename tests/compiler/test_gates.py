"""Gates that pool over the clip: what they pool in a stream, and which are refused."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.rule_networks import LENGTHS, SHAPE, stem_after
from support.streaming import randomise_, worst_error

Pool = Callable[[Tensor], Tensor]


def pool_clip(x: Tensor) -> Tensor:
    return x.mean((2, 3, 4), keepdim=True)


def pool_frame(x: Tensor) -> Tensor:
    return x.mean((3, 4), keepdim=True)


def pool_newest(x: Tensor) -> Tensor:
    """The mean of each frame and those before it, as many as the clip had or fewer at first."""
    frames = x.mean((3, 4), keepdim=True)
    newest = [frames[:, :, max(0, t - 7) : t + 1].mean(2) for t in range(x.shape[2])]
    return torch.stack(newest, 2)


def convolve(m: nn.Module, x: Tensor, pool: Pool) -> Tensor:
    return x * m.gate(pool(x)).sigmoid()


def add_and_scale(m: nn.Module, x: Tensor, pool: Pool) -> Tensor:
    gate = pool(x)
    return x * gate.sigmoid() + m.gate(gate)


def through_linear(m: nn.Module, x: Tensor, pool: Pool) -> Tensor:
    channels_last = pool(x).permute(0, 2, 3, 4, 1)
    return x * m.fc(channels_last).permute(0, 4, 1, 2, 3).sigmoid()


def drop_axes(m: nn.Module, x: Tensor) -> Tensor:
    """Like `through_linear`, with the pooled axes dropped and restored: (N, C)."""
    return x * m.fc(x.mean((2, 3, 4))).sigmoid()[:, :, None, None, None]


def pool_vectors(m: nn.Module, x: Tensor) -> Tensor:
    """Pool space first, then (N, C, T) over time."""
    seen = F.adaptive_avg_pool1d(x.mean((3, 4)), 1)
    return x * m.gate(seen[..., None, None]).sigmoid()


def view_as(m: nn.Module, x: Tensor) -> Tensor:
    gate = m.fc(x.mean((2, 3, 4))).sigmoid()
    return x * gate.view(x.shape[0], x.shape[1], 1, 1, 1)


def expand_as(m: nn.Module, x: Tensor) -> Tensor:
    gate = m.fc(x.mean((2, 3, 4))).sigmoid()
    return gate[:, :, None, None, None].expand_as(x) * x


def squeeze_and_unsqueeze(m: nn.Module, x: Tensor) -> Tensor:
    gate = pool_clip(x).flatten(1)
    return x * m.fc(gate).sigmoid().unflatten(1, (-1, 1, 1, 1))


# Spelling of a gate -> the gate, with the pool as an argument.
GATES = {
    "convolution": (lambda m, x: convolve(m, x, pool_clip), convolve),
    "one pool, two meetings": (lambda m, x: add_and_scale(m, x, pool_clip), add_and_scale),
    "dropped axes": (drop_axes, through_linear),
    "vectors": (pool_vectors, convolve),
    "view": (view_as, through_linear),
    "expand": (expand_as, through_linear),
    "flatten": (squeeze_and_unsqueeze, through_linear),
}


def gated(gate: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    """stem -> gate -> convolution over time."""
    return Apply(
        lambda m, x: m.deep(gate(m, m.stem(x))),
        stem=stem(),
        gate=nn.Conv3d(4, 4, 1),
        fc=nn.Linear(4, 4),
        deep=stem_after(3),
    )


def error_against(network: nn.Module, program: StepProgram) -> float:
    return worst_error(network, program, LENGTHS, time_axis=1, rewritten=False)


@pytest.mark.parametrize("edges", ["both", "start"])
@pytest.mark.parametrize("scope", ["frame", "window"])
@pytest.mark.parametrize("name", GATES)
def test_gate_equals_clip_with_the_same_approximation(name: str, scope: str, edges: str) -> None:
    written, parametrised = GATES[name]
    torch.manual_seed(0)
    model = randomise_(gated(written)).double()
    pool = pool_frame if scope == "frame" else pool_newest
    reference = gated(lambda m, x: parametrised(m, x, pool)).double()
    reference.load_state_dict(model.state_dict())
    program = convert(model, SHAPE, edges=edges, scope=scope)  # type: ignore[arg-type]
    assert len(program.approximations) == 1
    if edges == "both":
        assert error_against(reference, program) <= 1e-10
        assert error_against(model, program) > 1e-3


def test_a_maximum_of_each_frame_can_be_a_gate() -> None:
    torch.manual_seed(0)
    clip = gated(lambda m, x: x * m.gate(x.amax((2, 3, 4), keepdim=True)).sigmoid())
    model = randomise_(clip).double()
    reference = gated(lambda m, x: x * m.gate(x.amax((3, 4), keepdim=True)).sigmoid()).double()
    reference.load_state_dict(model.state_dict())
    program = convert(model, SHAPE, edges="both")
    assert error_against(reference, program) <= 1e-10
    with pytest.raises(ConversionError, match="only means over time"):
        convert(model, SHAPE, scope="window")


def time_first(m: nn.Module, x: Tensor) -> Tensor:
    """Pool over axis 1, the time axis of this network."""
    frames = x.transpose(1, 2)
    gate = m.fc(frames.mean((1, 3, 4))).sigmoid()
    return (frames * gate[:, None, :, None, None]).transpose(1, 2)


def test_an_unsupported_gate_is_listed_with_all_other_problems() -> None:
    model = gated(lambda m, x: time_first(m, x).flip(2) + x.sort(2)[0])
    with pytest.raises(ConversionError) as caught:
        convert(model, SHAPE)
    message = str(caught.value)
    assert "2 operators" in message
    assert "it is the pool of a gate, and its time axis is not axis 2" in message
    assert "aten.sort" in message


def test_an_unsupported_gate_is_rerun_on_the_clip() -> None:
    torch.manual_seed(0)
    model = Apply(
        lambda m, x: m.head(time_first(m, m.stem(x)).mean((2, 3, 4))),
        stem=stem(),
        fc=nn.Linear(4, 4),
        head=nn.Linear(4, 5),
    )
    randomise_(model).double()
    program = convert(model, SHAPE, edges="both", fallback=True)
    assert program.approximations == ()
    assert worst_error(model, program, [8, 8]) <= 1e-10
