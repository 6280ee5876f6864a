import numpy as np

from co3d.engine.mailbox import Mailbox, WaitingFrame
from co3d.video import VideoFrame
from co3d.video.continuity import Continuity
from co3d.video.pace import Pace

PICTURE = np.zeros((2, 2, 3), np.uint8)


def wait(number: int, starts_anew: bool = False) -> WaitingFrame:
    return WaitingFrame(VideoFrame(PICTURE, number / 8, number), 0.0, starts_anew)


def test_half_a_second_of_a_live_stream_waits_at_most():
    mailbox = Mailbox(8.0, drops_oldest=True)
    for number in range(10):
        assert mailbox.has_room
        mailbox.put(wait(number))
    assert mailbox.dropped_frames == 6
    assert [mailbox.take().frame.index for _ in range(4)] == [6, 7, 8, 9]
    assert len(mailbox) == 0


def test_recordings_wait_for_room():
    mailbox = Mailbox(8.0, drops_oldest=False)
    for number in range(16):
        mailbox.put(wait(number))
    assert not mailbox.has_room
    mailbox.take()
    assert mailbox.has_room
    assert mailbox.dropped_frames == 0


def test_a_new_video_starts_though_its_first_frame_is_dropped():
    mailbox = Mailbox(2.0, drops_oldest=True)
    for number in range(4):
        mailbox.put(wait(number, starts_anew=number == 1))
    assert [mailbox.take().starts_anew for _ in range(2)] == [True, False]


def test_dropped_frames_leave_a_gap():
    pace = Pace(1 / 8, 10.0)
    continuity = Continuity(8.0, pace, Pace(1 / 8, 10.0))
    mailbox = Mailbox(8.0, drops_oldest=True)
    first = wait(0)
    first.continuity = continuity
    first.mark()
    for number in range(1, 12):
        waiting = wait(number)
        waiting.continuity = continuity
        mailbox.put(waiting)
    newest = mailbox.take()
    newest.mark()
    newest.mark()
    assert newest.frame.index == 8
    assert newest.frame.gap_seconds == 1.0
