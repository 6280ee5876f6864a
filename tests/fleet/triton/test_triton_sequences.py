"""Sequences as Triton's batcher sends them: interleaved, restarted, ended, timed out."""

import numpy as np
import pytest
import torch

import co3d
from co3d.errors import StreamError
from co3d.fleet.triton_sequences import SequenceFrame, SequenceSlots

FIRST, LAST = "first", "last"


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slots(compiled, clock) -> SequenceSlots:
    return SequenceSlots(compiled, idle_seconds=10.0, clock=clock)


@pytest.fixture
def alone(program, videos):
    """The outputs and validity of each video in a stream of its own."""
    expected = {}
    for name, video in videos.items():
        with co3d.open_stream(program, backend="torch") as stream:
            results = [stream.step(torch.from_numpy(frame)) for frame in video]
            expected[name] = [(result.output[0], bool(result.valid)) for result in results]
            flushed = [(late.output[0], bool(late.valid)) for late in stream.flush()]
            expected[name, LAST] = flushed
    return expected


def make_frame(name, array, *marks: str) -> SequenceFrame:
    return SequenceFrame(name, FIRST in marks, LAST in marks, (array,))


def step(slots: SequenceSlots, name, array, *marks: str):
    """The result of one frame, which must not be refused."""
    (result,) = slots.step([make_frame(name, array, *marks)])
    if isinstance(result, StreamError):
        raise result
    return result


def is_same(result, expected) -> bool:
    return torch.equal(result.outputs[0], expected[0]) and result.valid == expected[1]


def test_interleaved_sequences_equal_separate_streams(slots, videos, alone):
    made = {name: [] for name in videos}
    for t in range(9):
        names = [7] if t % 2 else [7, "door"]  # "door" is idle at every second step
        marks = [FIRST] * (t == 0) + [LAST] * (t == 8)
        frames = [make_frame(name, videos[name][len(made[name])], *marks) for name in names]
        for name, result in zip(names, slots.step(frames), strict=True):
            made[name].append(result)
    assert all(map(is_same, made[7], alone[7]))
    assert len(made["door"]) == 5
    assert all(map(is_same, made["door"], alone["door"]))
    assert len(slots) == 0


def test_the_last_frame_flushes_the_pending_results(slots, videos, alone):
    for t, array in enumerate(videos[7]):
        result = step(slots, 7, array, *[FIRST] * (t == 0), *[LAST] * (t == 8))
    assert len(result.flushed) == len(alone[7, LAST])
    assert all(map(is_same, result.flushed, alone[7, LAST]))


def test_a_start_resets_a_sequence_of_the_same_name(slots, videos, alone):
    for t, array in enumerate(videos[7][:4]):
        step(slots, "door", array, *[FIRST] * (t == 0))
    made = [
        step(slots, "door", array, *[FIRST] * (t == 0)) for t, array in enumerate(videos["door"])
    ]
    assert all(map(is_same, made, alone["door"]))
    assert len(slots) == 1


def test_a_sequence_of_one_frame_starts_and_ends_at_once(slots, videos, alone):
    assert is_same(step(slots, 7, videos[7][0], FIRST, LAST), alone[7][0])
    assert len(slots) == 0


@pytest.mark.parametrize("name", [9, "", 0])
def test_a_frame_without_a_start_is_refused_and_affects_no_other(slots, videos, alone, name):
    step(slots, 7, videos[7][0], FIRST)
    frames = [make_frame(name, videos["door"][1]), make_frame(7, videos[7][1])]
    refused, result = slots.step(frames)
    assert isinstance(refused, StreamError)
    expected = "mark its next frame as the start" if name else "no correlation id"
    assert expected in str(refused)
    assert is_same(result, alone[7][1])


def test_after_its_end_a_sequence_must_start_again(slots, videos):
    step(slots, 7, videos[7][0], FIRST)
    step(slots, 7, videos[7][1], LAST)
    with pytest.raises(StreamError, match="has not started here"):
        step(slots, 7, videos[7][2])


def test_slots_of_sequences_that_timed_out_are_freed(slots, clock, videos, alone):
    step(slots, 7, videos[7][0], FIRST)
    clock.seconds = 15.0  # Triton has forgotten it, or has its next frame in a queue
    step(slots, "door", videos["door"][0], FIRST)
    assert is_same(step(slots, 7, videos[7][1]), alone[7][1])
    clock.seconds = 35.1
    assert is_same(step(slots, "door", videos["door"][1]), alone["door"][1])  # it waited for long
    assert len(slots) == 1
    with pytest.raises(StreamError, match="was idle for too long"):
        step(slots, 7, videos[7][2])


def test_sequences_that_time_out_in_turn_hold_few_slots(slots, clock, videos):
    for number in range(1, 40):  # in a model of four places, each of which Triton frees after 10 s
        clock.seconds += 2.5
        step(slots, number, videos[7][0], FIRST)
        assert len(slots) <= 2 * 4 + 1
    slots.close()
    assert len(slots) == 0


def test_a_step_that_fails_ends_only_its_own_sequences(slots, compiled, videos, alone, monkeypatch):
    for name, video in videos.items():
        step(slots, name, video[0], FIRST)
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "step", _fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            step(slots, "door", videos["door"][1])
    with pytest.raises(StreamError, match="or failed"):
        step(slots, "door", videos["door"][2])
    assert is_same(step(slots, 7, videos[7][1]), alone[7][1])
    assert is_same(step(slots, "door", videos["door"][0], FIRST), alone["door"][0])


def _fail(*_):
    raise RuntimeError("out of memory")


def test_frames_are_copied(slots, videos, alone):
    shared = np.empty_like(videos[7][0])  # as memory that Triton uses again
    made = []
    for t, array in enumerate(videos[7]):
        shared[:] = array
        made.append(step(slots, 7, shared, *[FIRST] * (t == 0)))
        shared[:] = np.nan
    assert all(map(is_same, made, alone[7]))
