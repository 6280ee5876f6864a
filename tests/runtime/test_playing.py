"""The step loop: videos in slots, whatever their lengths and their faults."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor

import co3d
from co3d.compiler import convert
from co3d.errors import DamagedVideoError, InputShapeError, SourceNotFoundError
from co3d.runtime.playing import Ended, Played
from support.networks import small_network
from support.streaming import randomise_

FRAME = (3, 6, 6)


@pytest.fixture(scope="module")
def program():
    torch.manual_seed(0)
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


def show(clip: Tensor, fails_at: int | None = None) -> Iterator[tuple[Tensor, int]]:
    for t, frame in enumerate(clip):
        if t == fails_at:
            raise DamagedVideoError("the rest is damaged")
        yield frame[None], t
    if fails_at == len(clip):
        raise DamagedVideoError("the end is missing")


def make_clips(lengths: list[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, *FRAME, generator=generator) for length in lengths]


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
@pytest.mark.parametrize("flush", [False, True])
def test_each_video_says_what_it_says_alone(slots: int, flush: bool, program) -> None:
    clips = make_clips([5, 0, 9, 1, 12, 3])
    stream = co3d.open_stream(program, slots=slots, backend="torch")
    said: dict[int, list[Played]] = {i: [] for i in range(len(clips))}
    ended = []
    for event in stream.play(((i, partial(show, c)) for i, c in enumerate(clips)), flush=flush):
        if isinstance(event, Ended):
            assert event.error is None
            ended.append(event.video)
        else:
            assert event.video not in ended
            said[event.video].append(event)
    assert sorted(ended) == list(range(len(clips)))
    alone = co3d.open_stream(program, backend="torch")
    for i, clip in enumerate(clips):
        alone.reset()
        results = [alone.step(frame[None]) for frame in clip]
        results += alone.flush() if flush else []
        assert len(results) == len(said[i])
        for event, result in zip(said[i], results, strict=True):
            assert torch.equal(event.output, result.output[0])
            assert event.valid == result.valid[0]
            assert event.fresh == result.fresh[0]
        tags = [event.tag for event in said[i]]
        assert tags == [*range(len(clip)), *[None] * (len(results) - len(clip))]


@pytest.mark.parametrize("flush", [False, True])
def test_a_fault_ends_its_own_video_alone(flush: bool, program) -> None:
    clips = make_clips([8, 8, 8])
    stream = co3d.open_stream(program, slots=2, backend="torch")
    videos = [(i, partial(show, c, fails_at=[None, 3, 8][i])) for i, c in enumerate(clips)]
    counts, errors = [0, 0, 0], {}
    for event in stream.play(videos, flush=flush):
        if isinstance(event, Ended):
            errors[event.video] = event.error
        else:
            counts[event.video] += 1
    assert errors[0] is None
    assert isinstance(errors[1], DamagedVideoError)
    assert isinstance(errors[2], DamagedVideoError)
    delay = program.delay if flush else 0
    assert counts == [8 + delay, 3 + delay, 8 + delay]


def test_frames_are_closed_when_the_consumer_stops(program) -> None:
    closed = []

    def frames(number: int) -> Iterator[tuple[Tensor, int]]:
        try:
            for t in range(100):
                yield torch.zeros(1, *FRAME), t
        finally:
            closed.append(number)

    playing = co3d.open_stream(program, slots=2, backend="torch").play(
        (i, partial(frames, i)) for i in range(4)
    )
    for _ in range(5):
        next(playing)
    playing.close()
    assert sorted(closed) == [0, 1]


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, *FRAME, dtype=torch.uint8),
        torch.zeros(2, *FRAME),
        torch.zeros(0, *FRAME),
        torch.zeros(1, 3, 5, 5),
    ],
)
def test_frames_of_a_bad_kind_end_their_own_video(bad: Tensor, program) -> None:
    (clip,) = make_clips([6])
    stream = co3d.open_stream(program, slots=2, backend="torch")
    videos = [("good", partial(show, clip)), ("bad", lambda: iter([(bad, 0)]))]
    events = list(stream.play(videos))
    ended = {event.video: event.error for event in events if isinstance(event, Ended)}
    assert ended["good"] is None
    assert isinstance(ended["bad"], InputShapeError)
    assert [event.video for event in events if isinstance(event, Played)] == ["good"] * 6


def test_a_video_that_cannot_be_opened_ends_alone(program) -> None:
    def fail() -> Iterator[tuple[Tensor, int]]:
        raise SourceNotFoundError("no such file")

    (clip,) = make_clips([6])
    stream = co3d.open_stream(program, backend="torch")
    events = list(stream.play([("bad", fail), ("good", partial(show, clip))]))
    assert isinstance(events[0], Ended)
    assert isinstance(events[0].error, SourceNotFoundError)
    assert len(events) == 8
