"""What a track does with its next step."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from co3d.engine.mailbox import Mailbox, WaitingFrame


class Act(Enum):
    """What happens to a track's slot."""

    SHOW = auto()  # the frame that waits
    SHOW_FIRST = auto()  # the same, after a reset: it starts a new video
    FLUSH = auto()  # a blank frame, so that the last `delay` frames of a video are described
    END = auto()  # nothing: all is said


@dataclass(frozen=True)
class Turn:
    """One act, and the frame that it shows."""

    act: Act
    waiting: WaitingFrame | None = None


class Videos(Protocol):
    """What a slot knows of its video; see `co3d.runtime.Slot`."""

    @property
    def age(self) -> int:
        """Frames seen."""
        ...

    @property
    def remaining(self) -> int | None:
        """Steps until a finished video's last result; None while it runs."""
        ...

    def finish(self) -> int:
        """Declare the newest frame the last; how many steps follow."""
        ...


def choose_turn(slot: Videos, mailbox: Mailbox, *, has_end: bool, resets_at_gaps: bool) -> Turn:
    """The next act of a track, whose frame it takes out of the mailbox.

    Args:
        slot: of the track, which nobody else uses.
        mailbox: of the track; empty only where its last frame has been pushed.
        has_end: whether videos are flushed at their end.
        resets_at_gaps: whether a gap ends a video.
    """
    if slot.remaining:
        return Turn(Act.FLUSH)
    waiting = mailbox.peek()
    if waiting is None:
        return Turn(Act.FLUSH if has_end and slot.age and slot.finish() else Act.END)
    waiting.mark()
    is_over = slot.remaining == 0  # of a snapshot that was taken then
    if is_over or waiting.starts_anew or (resets_at_gaps and waiting.frame.gap_seconds):
        if has_end and slot.age and slot.finish():
            return Turn(Act.FLUSH)
        return Turn(Act.SHOW_FIRST, mailbox.take())
    return Turn(Act.SHOW, mailbox.take())
