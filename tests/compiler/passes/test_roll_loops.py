"""Loops over frames become scans; graphs that only resemble loops are never converted wrongly."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.networks import Apply, stem
from support.recurrent_networks import LAST, Cells, ConvLSTM
from support.streaming import make_clips, randomise_, relative_error, run_steps, worst_error

SHAPE = (3, 8, 6, 6)
Loop = Callable[[nn.Module, Tensor], Tensor]


def loop(
    advance: Callable[[nn.Module, int, Tensor, Tensor], Tensor],
    start: Callable[[nn.Module, Tensor], Tensor] = lambda m, f: torch.zeros_like(f[:, :, 0]),
    order: Callable[[int], range] = range,
    gather: Callable[[list[Tensor]], Tensor] = lambda states: torch.stack(states, 1),
) -> Callable[[], nn.Module]:
    """A loop h = advance(m, t, frame, h) over vectors of four numbers."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        f = m.stem(x).mean((3, 4))
        h, states = start(m, f), []
        for t in order(f.shape[2]):
            h = advance(m, t, f[:, :, t], h)
            states.append(h)
        return gather(states)

    return lambda: Apply(
        forward,
        stem=stem(),
        own=nn.Linear(4, 4),
        given=nn.Linear(4, 4),
        starts=nn.Embedding(1, 4),
        each=nn.ModuleList(nn.Linear(4, 4) for _ in range(32)),
    )


def plain(m: nn.Module, _t: int, frame: Tensor, h: Tensor) -> Tensor:
    return torch.tanh(m.given(frame) + m.own(h))


def two_back(m: nn.Module, x: Tensor) -> Tensor:
    f = m.stem(x).mean((3, 4))
    before = h = torch.zeros_like(f[:, :, 0])
    states = []
    for t in range(f.shape[2]):
        before, h = h, torch.tanh(m.given(f[:, :, t]) + m.own(before) + h)
        states.append(h)
    return torch.stack(states, 1)


def frame_before(m: nn.Module, x: Tensor) -> Tensor:
    f = m.stem(x).mean((3, 4))
    h, states = torch.zeros_like(f[:, :, 0]), []
    for t in range(f.shape[2]):
        h = torch.tanh(m.given(f[:, :, max(t - 1, 0)]) + m.own(h))
        states.append(h)
    return torch.stack(states, 1)


def both_ways(m: nn.Module, x: Tensor) -> Tensor:
    f = m.stem(x).mean((3, 4))
    h = back = torch.zeros_like(f[:, :, 0])
    states, backs = [], []
    for t in range(f.shape[2]):
        h = torch.tanh(m.given(f[:, :, t]) + m.own(h))
        back = torch.tanh(m.given(f[:, :, f.shape[2] - 1 - t]) + m.own(back))
        states.append(h)
        backs.append(back)
    return torch.stack(states, 1) + torch.stack(backs[::-1], 1)


def network(forward: Loop) -> Callable[[], nn.Module]:
    return lambda: Apply(forward, stem=stem(), own=nn.Linear(4, 4), given=nn.Linear(4, 4))


# Difference between the frames -> the network.
LOOK_ALIKES: dict[str, Callable[[], nn.Module]] = {
    "a layer per frame": loop(lambda m, t, x, h: torch.tanh(m.each[t](x) + m.own(h))),
    "another factor per frame": loop(lambda m, t, x, h: torch.tanh(x * (1 + t) + m.own(h))),
    "another factor in one frame": loop(
        lambda m, t, x, h: torch.tanh(x * (2 if t == 5 else 1) + m.own(h))
    ),
    "another factor in the last frame": loop(
        lambda m, t, x, h: torch.tanh(x * (2 if t == 7 else 3) + m.own(h))
    ),
    "another factor in the first frame": loop(
        lambda m, t, x, h: torch.tanh(x * (3 if t == 0 else 2) + m.own(h))
    ),
    "another operator in the second frame": loop(
        lambda m, t, x, h: (torch.sin if t == 1 else torch.tanh)(m.given(x) + m.own(h))
    ),
    "another operator in the last frame": loop(
        lambda m, t, x, h: (torch.sin if t == 7 else torch.tanh)(m.given(x) + m.own(h))
    ),
    "operands exchanged in one frame": loop(
        lambda m, t, x, h: torch.tanh(m.given(x) - m.own(h) if t != 3 else m.own(h) - m.given(x))
    ),
    "layers exchanged in every second frame": loop(
        lambda m, t, x, h: torch.tanh(m.given(x) + m.own(h) if t % 2 else m.own(x) + m.given(h))
    ),
    "the last frame first": loop(plain, order=lambda n: range(n - 1, -1, -1)),
    "every second frame": loop(plain, order=lambda n: range(0, n, 2)),
    "without the last frame": loop(plain, order=lambda n: range(n - 1)),
    "without the first frame": loop(plain, order=lambda n: range(1, n)),
    "begins with numbers of its own": loop(plain, start=lambda m, f: m.starts.weight.expand(2, 4)),
    "begins with the first frame": loop(plain, start=lambda m, f: m.given(f[:, :, 0])),
    "begins with the last frame": loop(plain, start=lambda m, f: m.given(f[:, :, -1])),
    "begins with the mean of the clip": loop(plain, start=lambda m, f: f.mean(2)),
    "sees the whole clip in every frame": network(
        lambda m, x: torch.stack(
            [m.given(f) * x.mean((2, 3, 4))[:, :1] for f in m.stem(x).mean((3, 4)).unbind(2)], 1
        )
    ),
    "gathered in reverse": loop(plain, gather=lambda states: torch.stack(states[::-1], 1)),
    "gathered without the first": loop(plain, gather=lambda states: torch.stack(states[1:], 1)),
    "gathered with one twice": loop(
        plain, gather=lambda states: torch.stack([*states[:-1], states[0]], 1)
    ),
    "reads the state of two frames ago": network(two_back),
    "reads the frame before": network(frame_before),
    "both ways": network(both_ways),
    "the state in the middle": loop(plain, gather=lambda states: states[3]),
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_lookalikes_of_loops_are_never_converted_wrongly(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(LOOK_ALIKES[name]()).double()
    try:
        program = convert(model, SHAPE, edges="both")
    except ConversionError:
        return
    assert not program.approximations
    (clip,) = make_clips([8], (3, 6, 6), torch.float64)
    with torch.inference_mode():
        expected = model(clip[None])
        assert relative_error(program.clip_graph(clip[None]), expected) <= 1e-10
    if program.timing.is_pooled:  # one result per clip, made of picks of its frames
        assert relative_error(run_steps(program, [clip])[0][-1], expected[0]) <= 1e-10
    else:
        assert worst_error(model, program, (8,), time_axis=0) <= 1e-10


# An unusual way to write a loop.
LOOPS: dict[str, tuple[Callable[[], nn.Module], int | None]] = {
    "plain": (loop(plain), 0),
    "gathered along another axis": (loop(plain, gather=lambda states: torch.stack(states, 2)), 1),
    "gathered by concatenation": (
        loop(plain, gather=lambda states: torch.cat([h[:, None] for h in states], 1)),
        0,
    ),
    "begins with ones": (loop(plain, start=lambda m, f: torch.ones_like(f[:, :, 0])), 0),
    "gathered, and its end read as well": (
        loop(plain, gather=lambda states: torch.stack(states, 1) * 2),
        0,
    ),
    "two layers in one loop": (
        network(
            lambda m, x: torch.stack(
                _run_two(m, m.stem(x).mean((3, 4)).unbind(2)),
                1,
            )
        ),
        0,
    ),
    "a running sum of a network's scores": (
        network(lambda m, x: sum(m.given(f) for f in m.stem(x).mean((3, 4)).unbind(2))),
        None,
    ),
    "the largest score so far": (
        network(lambda m, x: _largest([m.given(f) for f in m.stem(x).mean((3, 4)).unbind(2)])),
        0,
    ),
    "loop over what a loop made": (
        network(
            lambda m, x: loop_over(m, torch.stack(loop_over(m, m.stem(x).mean((3, 4))), 2) * 1.5, 1)
        ),
        0,
    ),
}


def _run_two(m: nn.Module, frames: tuple[Tensor, ...]) -> list[Tensor]:
    lower = upper = torch.zeros_like(frames[0])
    states = []
    for frame in frames:
        lower = torch.tanh(m.given(frame) + m.own(lower))
        upper = torch.sigmoid(m.own(lower) - m.given(upper))
        states.append(lower * upper)
    return states


def _largest(scores: list[Tensor]) -> Tensor:
    best = scores[0]
    found = [best]
    for score in scores[1:]:
        best = torch.maximum(best, score)
        found.append(best)
    return torch.stack(found, 1)


def loop_over(m: nn.Module, f: Tensor, axis: int | None = None) -> list[Tensor] | Tensor:
    h, states = torch.zeros_like(f[:, :, 0]), []
    for frame in f.unbind(2):
        h = torch.tanh(m.given(frame) + m.own(h))
        states.append(h)
    return states if axis is None else torch.stack(states, axis)


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_exact(name: str) -> None:
    torch.manual_seed(0)
    make, axis = LOOPS[name]
    model = randomise_(make()).double()
    program = convert(model, SHAPE, edges="both")
    assert program.receptive_field is None
    assert worst_error(model, program, (8, 5, 11, 1), time_axis=axis) <= 1e-10


def test_loops_over_shortened_and_strided_values_are_exact() -> None:
    """A convolution without padding leaves six of eight elements, a stride leaves four."""
    for layer, length in ((nn.Conv3d(4, 4, (3, 1, 1)), 8), (nn.MaxPool3d((2, 1, 1)), 16)):
        torch.manual_seed(0)
        model = Apply(
            lambda m, x: torch.stack(loop_over(m, m.layer(m.stem(x)).mean((3, 4))), 1),  # type: ignore[arg-type]
            stem=stem(),
            layer=layer,
            own=nn.Linear(4, 4),
            given=nn.Linear(4, 4),
        )
        randomise_(model).double()
        program = convert(model, (3, length, 6, 6), edges="both")
        assert worst_error(model, program, (length, length + 8), time_axis=0) <= 1e-10


def test_loops_of_fewer_than_four_levels_are_refused() -> None:
    with pytest.raises(ConversionError):
        convert(Cells(), (3, 3, 6, 6))
    assert convert(Cells(), (3, 4, 6, 6)).receptive_field is None


def test_a_long_loop_becomes_one_scan() -> None:
    program = convert(ConvLSTM(), (3, 64, 6, 6))
    scans = [row for row in program.rows if row.operator == "scan"]
    assert len(scans) == 1
    assert scans[0].macs == 7 * 12 * 9 * 36


def test_a_loop_keeps_only_its_own_past_in_state() -> None:
    program = convert(LAST["last state of a convolutional LSTM"](), SHAPE)
    (own,) = [spec for spec in program.states if spec.name == "scan"]
    assert (own.depth, own.shape, own.fill) == (1, (6, 6, 6), 0.0)
