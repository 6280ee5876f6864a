"""Marks on frames that do not follow each other as a network expects."""

import math
from dataclasses import replace

from co3d.video.frame import VideoFrame
from co3d.video.pace import Pace

SLOW_PERIODS = 2.5
"""Slower than one new picture in this many sampling periods is too slow to tell movements by.

At 5 and 4 pictures a second camera_motion, which expects 8, is right as often as at 25; at 3 it is
wrong in places, and at 2 nearly everywhere.
"""


class Continuity:
    """Finds gaps between frames as they are delivered, and sources that are too slow.

    It comes last, so that all that makes a gap counts: silence, a jump in time, frames that were
    dropped because the consumer was late. A picture that sampling repeats is one picture.

    Args:
        rate_hz: what frames are sampled to; None where all are delivered. Then no source is slow.
        pace: of the pictures delivered.
    """

    def __init__(self, rate_hz: float | None, pace: Pace) -> None:
        self._period_seconds = 1 / rate_hz if rate_hz else 0.0
        self._pace = pace
        self._last: VideoFrame | None = None

    @property
    def pictures_per_second(self) -> float:
        """New pictures a second at the usual pace; infinite while it is not known."""
        return 1 / self._pace.usual_seconds if self._pace.usual_seconds else math.inf

    @property
    def is_undersampled(self) -> bool:
        """Whether new pictures come too rarely for the rate that they are sampled to."""
        usual = self._pace.usual_seconds or 0.0
        return self._pace.is_known and 0 < SLOW_PERIODS * self._period_seconds < usual

    def mark(self, frame: VideoFrame) -> VideoFrame:
        """The frame with what is known of `gap_seconds` and `is_undersampled`."""
        gap_seconds = 0.0
        if self._last is not None and frame.index != self._last.index:
            interval = frame.pts_seconds - self._last.pts_seconds
            if interval > self._pace.longest_without_gap(self._period_seconds):
                gap_seconds = interval
            self._pace.add(interval)
        self._last = frame
        if not gap_seconds and not self.is_undersampled:
            return frame
        return replace(frame, gap_seconds=gap_seconds, is_undersampled=self.is_undersampled)
