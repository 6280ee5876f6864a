"""The queue of a track's frames that wait for their step."""

import math
from collections import deque
from dataclasses import dataclass

from torch import Tensor

from co3d.video import VideoFrame
from co3d.video.continuity import Continuity

LIVE_SECONDS = 0.5
"""How much of a live source may wait, since networks deliver in bursts: no frame is lost of a
camera that sends its frames every half second. It is also the most that waiting adds to the lag."""

OFFLINE_FRAMES = 16


@dataclass
class WaitingFrame:
    """A frame that waits for its step.

    Attributes:
        frame: the sampled frame.
        since_seconds: when it began to wait, on the monotonic clock.
        starts_anew: whether a new video begins with it.
        continuity: finds the gap before the frame when it steps, which includes frames dropped from
            the queue; None if the gap is known already.
        pixels: the preprocessed frame, if there is one; else None.
    """

    frame: VideoFrame
    since_seconds: float
    starts_anew: bool = False
    continuity: Continuity | None = None
    pixels: Tensor | None = None

    def mark(self) -> None:
        """Find the gap before the frame; further calls do nothing."""
        if self.continuity is not None:
            self.frame = self.continuity.mark(self.frame)
            self.continuity = None


class Mailbox:
    """A bounded queue of frames. Not thread-safe: the engine holds a lock.

    Args:
        rate_hz: frames per second that arrive. drops_oldest: whether a full queue drops its oldest
            frame and counts it; otherwise the caller must wait for room.

    Attributes:
        dropped_frames: frames dropped so far.
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

    @property
    def is_half_empty(self) -> bool:
        """Whether to wake a thread that waits for room; half empty, so that it can add several."""
        return len(self._frames) <= self._capacity // 2

    def put(self, waiting: WaitingFrame) -> None:
        """Add a frame; there must be room."""
        self._frames.append(waiting)
        if len(self._frames) > self._capacity:
            dropped = self._frames.popleft()
            self._frames[0].starts_anew |= dropped.starts_anew
            self.dropped_frames += 1

    def peek(self) -> WaitingFrame | None:
        """The next frame, if any."""
        return self._frames[0] if self._frames else None

    def take(self) -> WaitingFrame:
        """Remove and return the next frame."""
        return self._frames.popleft()
