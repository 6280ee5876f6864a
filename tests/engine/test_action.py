import numpy as np
import pytest

from co3d.engine.action import ActionKind, choose_action
from co3d.engine.mailbox import Mailbox, WaitingFrame
from co3d.video import VideoFrame


class FakeSlot:
    """A slot that needs two steps after a video's end."""

    def __init__(self, age: int = 5, remaining: int | None = None, delay: int = 2) -> None:
        self.age, self.remaining, self._delay = age, remaining, delay

    def finish(self) -> int:
        if self.remaining is None:
            self.remaining = self._delay
        return self.remaining


@pytest.fixture
def mailbox():
    return Mailbox(8.0, drops_oldest=False)


def put(mailbox: Mailbox, *, starts_anew: bool = False, gap_seconds: float = 0.0) -> None:
    frame = VideoFrame(np.zeros((2, 2, 3), np.uint8), 1.0, 0, gap_seconds=gap_seconds)
    mailbox.put(WaitingFrame(frame, 0.0, starts_anew))


def choose(slot: FakeSlot, mailbox: Mailbox, *, has_end: bool = True, resets_at_gaps: bool = True):
    action = choose_action(slot, mailbox, has_end=has_end, resets_at_gaps=resets_at_gaps)
    assert (action.waiting is not None) == (
        action.kind in (ActionKind.STEP, ActionKind.RESET_AND_STEP)
    )
    return action.kind


def test_a_waiting_frame_is_stepped(mailbox):
    put(mailbox)
    assert choose(FakeSlot(), mailbox) is ActionKind.STEP
    assert len(mailbox) == 0


@pytest.mark.parametrize("mark", [{"starts_anew": True}, {"gap_seconds": 3.0}])
def test_before_a_new_video_the_old_one_is_flushed(mailbox, mark):
    put(mailbox, **mark)
    slot = FakeSlot()
    for remaining in (2, 1):
        assert choose(slot, mailbox) is ActionKind.FLUSH
        slot.remaining = remaining - 1
    assert choose(slot, mailbox) is ActionKind.RESET_AND_STEP


@pytest.mark.parametrize("slot", [FakeSlot(age=0), FakeSlot(delay=0)])
def test_a_video_without_frames_needs_no_flush(mailbox, slot):
    put(mailbox, starts_anew=True)
    assert choose(slot, mailbox) is ActionKind.RESET_AND_STEP


def test_live_videos_are_not_flushed(mailbox):
    put(mailbox, starts_anew=True)
    assert choose(FakeSlot(), mailbox, has_end=False) is ActionKind.RESET_AND_STEP
    assert choose(FakeSlot(), mailbox, has_end=False) is ActionKind.END


def test_gaps_may_be_kept(mailbox):
    put(mailbox, gap_seconds=3.0)
    assert choose(FakeSlot(), mailbox, resets_at_gaps=False) is ActionKind.STEP


def test_the_last_video_is_flushed_before_the_end(mailbox):
    slot = FakeSlot()
    assert choose(slot, mailbox) is ActionKind.FLUSH
    slot.remaining = 0
    assert choose(slot, mailbox) is ActionKind.END
    assert choose(FakeSlot(age=0), mailbox) is ActionKind.END


def test_after_a_snapshot_of_an_ended_video_the_next_frame_is_a_first_one(mailbox):
    put(mailbox)
    assert choose(FakeSlot(remaining=0), mailbox) is ActionKind.RESET_AND_STEP
