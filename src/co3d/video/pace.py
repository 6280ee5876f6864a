"""The usual interval between the frames of a source, which decides what counts as a gap."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from statistics import median_low
from typing import Protocol, TypeVar

GAP_INTERVALS = 4.0
"""A gap is longer than this many sampling periods, and than this many usual intervals.

One lost frame doubles an interval, and ordinary jitter moves a frame by half of one. A picture held
for up to four periods leaves half of camera_motion's window of eight frames new. Longer holds make
up most of the window.
half are still new. Longer holds make up most of the window.
"""

ROUNDING_SECONDS = 1e-3
"""Rounding times to milliseconds, as some containers do, lengthens an interval by at most this."""

RECENT_INTERVALS = 15
NEEDED_INTERVALS = 3
KNOWN_INTERVALS = 8
"""After this many intervals the stated rate is ignored, because headers may be wrong."""


class Timed(Protocol):
    """Anything with a presentation time."""

    @property
    def pts_seconds(self) -> float:
        """When it is shown, in seconds."""
        ...


T = TypeVar("T", bound=Timed)


class Pace:
    """The median of the latest 15 intervals between frames.

    A slideshow's pace is slow, so its stills are no gaps; a camera that slows down at night has
    gaps until half of the 15 intervals are slow ones.

    Args:
        stated_seconds: mean interval that the container states; None where it states none.
        longest_seconds: a longer interval is a gap whatever the pace.

    Attributes:
        measured_seconds: the median; None before the first interval.
        usual_seconds: the median, but at least the stated interval until eight intervals are known;
            None while neither is known. Other threads may read both.
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
        """The same frames; each interval is counted before the frame that ends it."""
        last_seconds: float | None = None
        for frame in frames:
            if last_seconds is not None:
                self.add(frame.pts_seconds - last_seconds)
            last_seconds = frame.pts_seconds
            yield frame

    def take_over(self, other: "Pace") -> None:
        """Copy the intervals that another pace has counted."""
        vars(self).update(vars(other))

    @property
    def is_known(self) -> bool:
        """Whether the pace was stated or three intervals are known, since one may be an outlier."""
        return self._stated_seconds is not None or len(self._recent) >= NEEDED_INTERVALS

    def is_slower_than(self, seconds: float) -> bool:
        """Whether intervals usually are longer: three must show it, or one and the stated one.

        A stated mean alone does not, since an outage in a file lengthens it.
        """
        states_as_much = self._stated_seconds is not None and self._stated_seconds > seconds
        needed = 1 if states_as_much else NEEDED_INTERVALS
        return len(self._recent) >= needed and (self.measured_seconds or 0.0) > seconds

    def longest_without_gap(self, period_seconds: float) -> float:
        """The longest interval in seconds that is not a gap when sampling with this period."""
        usual = self.usual_seconds
        limit = math.inf if usual is None else GAP_INTERVALS * max(period_seconds, usual)
        return min(limit, self._longest_seconds) + ROUNDING_SECONDS
