"""Frames of one track that wait for their step."""

import math
from collections import deque
from dataclasses import dataclass

from torch import Tensor

from co3d.video import VideoFrame
from co3d.video.continuity import Continuity

LIVE_SECONDS = 0.5
"""How much of a live source may wait. Networks deliver in bursts: of a camera that sends every half
second what it has taken since, nothing is lost. The lag grows by as much at most."""

OFFLINE_FRAMES = 16


@dataclass
class WaitingFrame:
    """A frame that waits for its step.

    Attributes:
        frame: as the network is to see it.
        since_seconds: when it began to wait, on the monotonic clock.
        starts_anew: whether a new video begins with it.
        continuity: finds gaps before it when it is taken, so that frames that were dropped
            meanwhile count; None where it is known already.
        pixels: the frame as the network takes it, where it was prepared before; else None.
    """

    frame: VideoFrame
    since_seconds: float
    starts_anew: bool = False
    continuity: Continuity | None = None
    pixels: Tensor | None = None

    def mark(self) -> None:
        """Find the gap before the frame; twice is once."""
        if self.continuity is not None:
            self.frame = self.continuity.mark(self.frame)
            self.continuity = None


class Mailbox:
    """A bounded queue of frames. Not safe for threads: the engine holds a lock.

    Args:
        rate_hz: frames per second that come. drops_oldest: when full, throw the oldest frame away
            (and count it), else refuse.

    Attributes:
        dropped_frames: thrown away so far.
    """

    def __init__(self, rate_hz: float, *, drops_oldest: bool) -> None:
        self.dropped_frames = 0
        self._drops_oldest = drops_oldest
        live = max(2, math.ceil(LIVE_SECONDS * rate_hz))
        self._capacity = live if drops_oldest else OFFLINE_FRAMES
        self._frames: deque[WaitingFrame] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def has_room(self) -> bool:
        """Whether another frame can be put in."""
        return self._drops_oldest or len(self._frames) < self._capacity

    def put(self, waiting: WaitingFrame) -> None:
        """Add a frame; there must be room."""
        self._frames.append(waiting)
        if len(self._frames) > self._capacity:
            dropped = self._frames.popleft()
            self._frames[0].starts_anew |= dropped.starts_anew
            self.dropped_frames += 1

    def peek(self) -> WaitingFrame | None:
        """The frame that comes next, if any."""
        return self._frames[0] if self._frames else None

    def take(self) -> WaitingFrame:
        """The same, which waits no more."""
        return self._frames.popleft()
