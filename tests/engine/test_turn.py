import numpy as np
import pytest

from co3d.engine.mailbox import Mailbox, WaitingFrame
from co3d.engine.turn import Act, choose_turn
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
    turn = choose_turn(slot, mailbox, has_end=has_end, resets_at_gaps=resets_at_gaps)
    assert (turn.waiting is not None) == (turn.act in (Act.SHOW, Act.SHOW_FIRST))
    return turn.act


def test_a_frame_that_waits_is_shown(mailbox):
    put(mailbox)
    assert choose(FakeSlot(), mailbox) is Act.SHOW
    assert len(mailbox) == 0


@pytest.mark.parametrize("mark", [{"starts_anew": True}, {"gap_seconds": 3.0}])
def test_before_a_new_video_the_old_one_is_flushed(mailbox, mark):
    put(mailbox, **mark)
    slot = FakeSlot()
    for remaining in (2, 1):
        assert choose(slot, mailbox) is Act.FLUSH
        slot.remaining = remaining - 1
    assert choose(slot, mailbox) is Act.SHOW_FIRST


@pytest.mark.parametrize("slot", [FakeSlot(age=0), FakeSlot(delay=0)])
def test_what_has_nothing_to_flush_starts_anew_at_once(mailbox, slot):
    put(mailbox, starts_anew=True)
    assert choose(slot, mailbox) is Act.SHOW_FIRST


def test_live_videos_have_no_end(mailbox):
    put(mailbox, starts_anew=True)
    assert choose(FakeSlot(), mailbox, has_end=False) is Act.SHOW_FIRST
    assert choose(FakeSlot(), mailbox, has_end=False) is Act.END


def test_gaps_may_be_kept(mailbox):
    put(mailbox, gap_seconds=3.0)
    assert choose(FakeSlot(), mailbox, resets_at_gaps=False) is Act.SHOW


def test_the_last_video_is_flushed_and_then_all_is_said(mailbox):
    slot = FakeSlot()
    assert choose(slot, mailbox) is Act.FLUSH
    slot.remaining = 0
    assert choose(slot, mailbox) is Act.END
    assert choose(FakeSlot(age=0), mailbox) is Act.END


def test_after_a_snapshot_of_an_ended_video_the_next_frame_is_a_first_one(mailbox):
    put(mailbox)
    assert choose(FakeSlot(remaining=0), mailbox) is Act.SHOW_FIRST
