"""The usual time between the frames of a source, and so what is a gap in it."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from statistics import median_low
from typing import Protocol, TypeVar

GAP_INTERVALS = 4.0
"""A gap is longer than this many sampling periods, and than this many usual intervals.

One lost frame doubles an interval and ordinary jitter moves a frame by half of one. Up to four
periods a network sees a held picture and no wrong time: of camera_motion's window of eight frames
half are still new. Longer holds make up most of the window.
"""

ROUNDING_SECONDS = 1e-3
"""Containers that round times to milliseconds make an interval that much longer at most."""

RECENT_INTERVALS = 15
NEEDED_INTERVALS = 3
KNOWN_INTERVALS = 8
"""From so many intervals on the stated rate has no say any more: headers err."""


class Timed(Protocol):
    """Anything with a presentation time."""

    @property
    def pts_seconds(self) -> float:
        """When it is shown, in seconds."""
        ...


T = TypeVar("T", bound=Timed)


class Pace:
    """The median of the latest 15 intervals between frames.

    A slideshow's pace is slow, so that its stills are no gaps; a camera that slows down for the
    night has gaps until half of the intervals are slow ones.

    Args:
        stated_seconds: mean interval as the container states it; None where it cannot be known.
        longest_seconds: a longer interval is a gap at any pace.

    Attributes:
        measured_seconds: the median; None before the first interval.
        usual_seconds: the median too, but not less than what is stated until eight intervals are
            known; None while nothing tells. Another thread may read both.
    """

    def __init__(self, stated_seconds: float | None, longest_seconds: float) -> None:
        self._stated_seconds = stated_seconds
        self._longest_seconds = longest_seconds
        self._recent: deque[float] = deque(maxlen=RECENT_INTERVALS)
        self.measured_seconds: float | None = None
        self.usual_seconds = stated_seconds

    def add(self, interval_seconds: float) -> None:
        """Count the interval between a frame and the one before it, gap or not."""
        self._recent.append(interval_seconds)
        self.measured_seconds = usual = median_low(self._recent)
        if self._stated_seconds is not None and len(self._recent) < KNOWN_INTERVALS:
            usual = max(usual, self._stated_seconds)
        self.usual_seconds = usual

    def watch(self, frames: Iterable[T]) -> Iterator[T]:
        """The same frames, each interval counted before the frame that ends it."""
        last_seconds: float | None = None
        for frame in frames:
            if last_seconds is not None:
                self.add(frame.pts_seconds - last_seconds)
            last_seconds = frame.pts_seconds
            yield frame

    def take_over(self, other: "Pace") -> None:
        """Know what another pace knows."""
        vars(self).update(vars(other))

    @property
    def is_known(self) -> bool:
        """Whether the pace was stated, or told from three intervals, which one odd one cannot."""
        return self._stated_seconds is not None or len(self._recent) >= NEEDED_INTERVALS

    def is_slower_than(self, seconds: float) -> bool:
        """Whether intervals usually are longer: three tell, or one where as much is stated.

        A statement alone does not, since the mean over a file with an outage is long.
        """
        states_as_much = self._stated_seconds is not None and self._stated_seconds > seconds
        needed = 1 if states_as_much else NEEDED_INTERVALS
        return len(self._recent) >= needed and (self.measured_seconds or 0.0) > seconds

    def longest_without_gap(self, period_seconds: float) -> float:
        """The longest interval in seconds that is no gap when sampling with this period."""
        usual = self.usual_seconds
        limit = math.inf if usual is None else GAP_INTERVALS * max(period_seconds, usual)
        return min(limit, self._longest_seconds) + ROUNDING_SECONDS
