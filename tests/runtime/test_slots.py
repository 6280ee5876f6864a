"""A stream in a batch equals the same stream alone, whatever the other slots do."""

from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.compiler import convert
from co3d.runtime import Stream, open_stream
from support.networks import small_network
from support.streaming import make_clips, randomise_, relative_error

SLOTS = 3
FRAME = (3, 6, 6)


@cache
def _program(edges: str):
    torch.manual_seed(0)
    return convert(randomise_(small_network()).double(), (3, 4, 6, 6), edges=edges)  # type: ignore[arg-type]


# One event per step and slot: the slot sleeps, steps, or starts anew with this frame.
EVENTS = st.lists(
    st.lists(st.sampled_from(["sleep", "step", "reset"]), min_size=SLOTS, max_size=SLOTS),
    min_size=1,
    max_size=14,
)


def _state(stream: Stream, slot: int) -> list[torch.Tensor]:
    return list(stream.snapshot(slot).tensors.values())


@settings(deadline=None, max_examples=40)
@given(events=EVENTS, edges=st.sampled_from(["none", "start", "both"]))
def test_interleaved_slots_equal_each_stream_alone(events: list[list[str]], edges: str) -> None:
    program = _program(edges)
    batch = open_stream(program, precision="float64", slots=SLOTS)
    alone = [open_stream(program, precision="float64") for _ in range(SLOTS)]
    frames = make_clips([len(events)] * SLOTS, FRAME, torch.float64)
    for step, row in enumerate(events):
        active = torch.tensor([event != "sleep" for event in row])
        reset = torch.tensor([event == "reset" for event in row])
        before = [_state(batch, slot) for slot in range(SLOTS)]
        result = batch.step(
            torch.stack([clip[:, step] for clip in frames]), active=active, reset=reset
        )
        for slot, event in enumerate(row):
            if event == "sleep":
                after = _state(batch, slot)
                assert all(map(torch.equal, before[slot], after))
                assert not result.valid[slot]
                assert not result.output[slot].any()
                continue
            if event == "reset":
                alone[slot].reset()
            expected = alone[slot].step(frames[slot][None, :, step])
            assert result.valid[slot] == expected.valid[0]
            assert relative_error(result.output[slot], expected.output[0]) <= 1e-12


@settings(deadline=None, max_examples=20)
@given(cut=st.lists(st.integers(1, 10), min_size=SLOTS, max_size=SLOTS))
def test_slots_flush_one_by_one(cut: list[int]) -> None:
    program = _program("both")
    batch = open_stream(program, precision="float64", slots=SLOTS)
    clips = make_clips(cut, FRAME, torch.float64)
    last: dict[int, torch.Tensor] = {}
    for step in range(max(cut)):
        frames = torch.stack([c[:, min(step, c.shape[1] - 1)] for c in clips])
        batch.step(frames, active=torch.tensor([step < length for length in cut]))
        for slot, length in enumerate(cut):
            if length == step + 1:
                last[slot] = batch.flush(slot)[-1].output[slot]
    for slot, clip in enumerate(clips):
        alone = open_stream(program, precision="float64")
        for step in range(clip.shape[1]):
            alone.step(clip[None, :, step])
        assert relative_error(last[slot], alone.flush()[-1].output[0]) <= 1e-12
