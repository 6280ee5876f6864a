"""Chooses the next action of a track."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from co3d.engine.mailbox import Mailbox, WaitingFrame


class ActionKind(Enum):
    """What to do with a track's slot."""

    STEP = auto()  # step the waiting frame
    RESET_AND_STEP = auto()  # reset the slot, then step the waiting frame, which starts a new video
    FLUSH = auto()  # step a blank frame, so that the last `delay` frames of a video are described
    END = auto()  # end the track, since nothing is left to describe


@dataclass(frozen=True)
class Action:
    """One action, and the frame that it steps, if any."""

    kind: ActionKind
    waiting: WaitingFrame | None = None


class SlotPosition(Protocol):
    """The position of a slot in its video; see `co3d.runtime.Slot`."""

    @property
    def age(self) -> int:
        """Frames stepped so far."""
        ...

    @property
    def remaining(self) -> int | None:
        """Steps until a finished video's last result; None while it runs."""
        ...

    def finish(self) -> int:
        """Declare the newest frame the last; returns how many flush steps follow."""
        ...


def choose_action(
    slot: SlotPosition, mailbox: Mailbox, *, has_end: bool, resets_at_gaps: bool
) -> Action:
    """Choose the next action of a track, and take its frame from the mailbox.

    Args:
        slot: the track's slot, which the caller owns.
        mailbox: the track's mailbox; empty only if its last frame has been pushed.
        has_end: whether videos are flushed at their end.
        resets_at_gaps: whether a gap ends a video.
    """
    if slot.remaining:
        return Action(ActionKind.FLUSH)
    waiting = mailbox.peek()
    if waiting is None:
        return Action(
            ActionKind.FLUSH if has_end and slot.age and slot.finish() else ActionKind.END
        )
    waiting.mark()
    is_over = slot.remaining == 0  # in a snapshot from after a flush
    if is_over or waiting.starts_anew or (resets_at_gaps and waiting.frame.gap_seconds):
        if has_end and slot.age and slot.finish():
            return Action(ActionKind.FLUSH)
        return Action(ActionKind.RESET_AND_STEP, mailbox.take())
    return Action(ActionKind.STEP, mailbox.take())
