"""Marks gaps and undersampling on frames, which a network would see as wrong speed."""

import math
from dataclasses import replace

from co3d.video.frame import VideoFrame
from co3d.video.pace import Pace

SLOW_PERIODS = 2.5
"""Fewer new pictures than one in this many sampling periods are too few to recognise movements.

camera_motion, which expects 8 pictures a second, is right at 5 and 4 as often as at 25; at 3 it is
wrong in places, and at 2 nearly everywhere.
"""


class Continuity:
    """Finds gaps between frames as they are delivered, and sources that are too slow.

    It is the last stage, so that every cause of a gap counts: silence, a jump in time, frames that
    were dropped because the consumer was late. A repeated picture counts once.

    Args:
        rate_hz: the rate that frames are sampled to; None where all are delivered. Then no source
            is slow.
        source_pace: of the source before sampling; updated elsewhere.
        pace: of the delivered pictures; updated here.
    """

    def __init__(self, rate_hz: float | None, source_pace: Pace, pace: Pace) -> None:
        self._period_seconds = 1 / rate_hz if rate_hz else 0.0
        self._source_pace, self._pace = source_pace, pace
        self._last: VideoFrame | None = None

    @property
    def pictures_per_second(self) -> float:
        """New pictures a second at the usual pace; infinite while the pace is unknown."""
        return 1 / self._pace.measured_seconds if self._pace.measured_seconds else math.inf

    @property
    def is_undersampled(self) -> bool:
        """Whether new pictures come too rarely for the rate that they are sampled to."""
        return self._is_slow(self._pace)

    @property
    def is_source_slow(self) -> bool:
        """Whether the source itself sends too few pictures; else some were dropped."""
        return self._is_slow(self._source_pace)

    def mark(self, frame: VideoFrame) -> VideoFrame:
        """The frame with `gap_seconds` and `is_undersampled` set."""
        gap_seconds = frame.gap_seconds  # measured by a reader before a queue dropped frames
        if self._last is not None and frame.index != self._last.index:
            interval = frame.pts_seconds - self._last.pts_seconds
            gap_seconds = interval if self._is_gap(interval) else gap_seconds
            self._pace.add(interval)
        self._last = frame
        if not gap_seconds and not self.is_undersampled:
            return frame
        return replace(frame, gap_seconds=gap_seconds, is_undersampled=self.is_undersampled)

    def _is_gap(self, interval_seconds: float) -> bool:
        """Whether an interval is unusual both for the source and for the delivered pictures."""
        paces = [self._source_pace, *([self._pace] if self._pace.is_known else [])]
        limits = [pace.longest_without_gap(self._period_seconds) for pace in paces]
        return interval_seconds > max(limits)

    def _is_slow(self, pace: Pace) -> bool:
        longest_seconds = SLOW_PERIODS * self._period_seconds
        return longest_seconds > 0 and pace.is_slower_than(longest_seconds)
