"""Recurrences: steps equal the clip network from the stream's first frame on."""

import pytest
import torch
from torch import nn

import co3d
from co3d.compiler import convert
from co3d.compiler.unroll import unroll_clip
from co3d.errors import ConversionError, OptionError
from co3d.evaluation.stream_mode import StreamEvaluator
from co3d.runtime import compile as compile_program
from co3d.runtime import open_stream
from support.networks import Apply, stem
from support.recurrent_networks import FRAMEWISE, LAST, FrameLoop
from support.streaming import (
    make_clips,
    randomise_,
    relative_error,
    without_masks,
    worst_error,
)

SHAPE = (3, 8, 6, 6)
LENGTHS = (8, 5, 11, 1, 30)


@pytest.mark.filterwarnings("ignore:dropout option adds dropout:UserWarning")
@pytest.mark.parametrize("name", FRAMEWISE)
def test_every_element_equals_clip(name: str) -> None:
    torch.manual_seed(0)
    make, axis = FRAMEWISE[name]
    model = randomise_(make()).double()
    program = convert(model, SHAPE, edges="both")
    assert program.approximations == program.fallbacks == ()
    lengths = (8, 12, 32) if program.temporal_stride > 1 else LENGTHS
    assert worst_error(model, program, lengths, time_axis=axis) <= 1e-10
    if program.temporal_stride > 1:
        for spread in (False, True):
            native = convert(model, SHAPE, edges="both", rate="native", spread=spread)
            assert worst_error(model, native, lengths, time_axis=axis) <= 1e-10


@pytest.mark.parametrize("name", LAST)
def test_last_element_equals_clip(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(LAST[name]()).double()
    program = convert(model, SHAPE, edges="both")
    assert program.receptive_field is None
    lengths = (8, 12, 32) if program.temporal_stride > 1 else LENGTHS
    assert worst_error(model, program, lengths) <= 1e-10
    if program.temporal_stride > 1:
        native = convert(model, SHAPE, edges="both", rate="native")
        assert worst_error(model, native, lengths) <= 1e-10


@pytest.mark.parametrize("name", ["loop of cells", "LSTM, time first", "cumulative sum"])
def test_verification_passes_at_several_lengths(name: str) -> None:
    torch.manual_seed(0)
    found = co3d.verify(randomise_(FRAMEWISE[name][0]()), SHAPE, lengths=[5, 13])
    found.require()
    assert found.lengths == (8, 5, 13)
    assert found.notes == ()


def test_an_unbounded_receptive_field_is_reported() -> None:
    program = convert(FRAMEWISE["GRU"][0](), SHAPE)
    assert program.receptive_field is None
    assert "receptive field all frames from the stream's first one on, delay 1" in program.explain()
    assert convert(FrameLoop(), SHAPE).receptive_field == 3


def test_streams_of_different_ages_resets_and_snapshots() -> None:
    torch.manual_seed(0)
    model = randomise_(FRAMEWISE["loop of cells"][0]()).double()
    program = convert(model, SHAPE, edges="start")
    long, short = make_clips([20, 9], program.frame_shape, torch.float64)
    with torch.inference_mode():
        expected = {20: model(long[None])[0], 9: model(short[None])[0]}
    stream = open_stream(program, precision="float64", slots=2)
    late = 6
    for step in range(20 - 5):
        frames = torch.stack([long[:, step], short[:, max(0, step - late)]])
        active = torch.tensor([True, late <= step < late + 9])
        if step == late:
            stream.reset(1)
        result = stream.step(frames, active=active)
        if step >= program.delay:
            assert relative_error(result.output[0], expected[20][step - 1]) <= 1e-10
        if late + program.delay <= step < late + 9:
            assert relative_error(result.output[1], expected[9][step - late - 1]) <= 1e-10
    snapshot = stream.snapshot(0)
    other = open_stream(program, precision="float64")
    other.restore(snapshot)
    for step in range(15, 20):
        result = other.step(long[None, :, step])
        if step < 19:
            assert relative_error(result.output[0], expected[20][step - 1]) <= 1e-10


def test_recurrences_that_would_keep_padding_in_state_are_refused_without_masks() -> None:
    with pytest.raises(ConversionError, match="edges='none'"):
        convert(FRAMEWISE["LSTM"][0](), SHAPE, edges="none")


def test_recurrences_of_single_frames_are_exact_without_masks() -> None:
    torch.manual_seed(0)
    model = randomise_(FRAMEWISE["frames folded, then an LSTM"][0]()).double()
    program = convert(model, SHAPE, edges="none")
    (clip,) = make_clips([12], program.frame_shape, torch.float64)
    stream = open_stream(program, precision="float64")
    steps = [stream.step(clip[None, :, t]).output[0] for t in range(12)]
    with torch.inference_mode():
        assert relative_error(torch.stack(steps), model(clip[None])[0]) <= 1e-10


def test_missing_masks_are_caught() -> None:
    torch.manual_seed(0)
    model = randomise_(FRAMEWISE["GRU"][0]()).double()
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, without_masks(program), (8,), time_axis=0) > 1e-3


@pytest.mark.parametrize("name", ["GRU", "loop of convolutional LSTM cells", "running extrema"])
def test_clips_unroll_into_one_graph(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(FRAMEWISE[name][0]()).double()
    graph = unroll_clip(convert(model, SHAPE, edges="both"))
    (clip,) = make_clips([8], (3, 6, 6), torch.float64)
    with torch.inference_mode():
        (output,) = graph(*clip[None].unbind(2))
        assert relative_error(output, model(clip[None])) <= 1e-10


def test_bidirectional_layers_are_refused_with_the_cause() -> None:
    model = Apply(
        lambda m, x: m.rnn(m.stem(x).mean((3, 4)).transpose(1, 2))[0],
        stem=stem(),
        rnn=nn.GRU(4, 5, batch_first=True, bidirectional=True),
    )
    with pytest.raises(ConversionError, match="from the clip's end backwards as well"):
        convert(model, SHAPE)


def test_a_learnt_initial_state_is_refused_with_the_cause() -> None:
    model = Apply(
        lambda m, x: m.rnn(
            m.stem(x).mean((3, 4)).transpose(1, 2), m.start.weight.expand(1, x.shape[0], 5).clone()
        )[0],
        stem=stem(),
        rnn=nn.GRU(4, 5, batch_first=True),
        start=nn.Embedding(1, 5),
    )
    with pytest.raises(ConversionError, match="its initial state"):
        convert(model, SHAPE)


def test_copies_of_the_first_frame_never_fill_a_recurrence() -> None:
    compiled = compile_program(convert(FRAMEWISE["GRU"][0](), SHAPE), backend="torch")
    with pytest.raises(OptionError, match="never forgets"):
        StreamEvaluator(None, None, compiled, fill="replicate", rate_hz=8.0)  # type: ignore[arg-type]
