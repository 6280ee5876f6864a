"""Choose frames at a steady rate by their timestamps.

Ticks lie on the grid `start + k / rate_hz`, where `start` is the time of the first frame. Each
tick takes the picture that a viewer would see at that moment: the newest frame whose time is not
after the tick.

    frames   a    b  c       d         e
             |    |  |       |         |
    ticks    0      1      2      3      4
    result   a      b      c      d      d        (e comes after tick 4; the video ends there)

A source slower than `rate_hz` repeats its newest frame, because a network assumes a steady rate. No
frame is repeated for longer than `max_hold_seconds`, nor, where `pace` is given, over a gap: there
the grid starts again at the next frame. Of frames that share a timestamp the last one counts.
"""

from collections.abc import Iterable, Iterator
from typing import Generic

from co3d.video.pace import Pace, T

TOLERANCE_SECONDS = 1e-3
"""Matroska and FLV round timestamps to milliseconds, so a frame may come that much late."""


def sample_at_rate(
    frames: Iterable[T],
    rate_hz: float | None,
    max_hold_seconds: float,
    pace: Pace | None = None,
) -> Iterator[T]:
    """Yield for every tick of a steady grid the newest frame at or before it.

    Args:
        frames: in presentation order: `pts_seconds` never decreases.
        rate_hz: ticks per second, above zero; None passes every frame on.
        max_hold_seconds, pace: see `RateSampler`.
    """
    if rate_hz is None:
        yield from frames
        return
    sampler = RateSampler[T](rate_hz, max_hold_seconds, pace)
    for frame in frames:
        yield from sampler.push(frame)
    yield from sampler.finish()


class RateSampler(Generic[T]):
    """Samples frames that are pushed, one by one.

    A tick is settled when the first frame after it arrives, so a live source is delayed by at most
    one source frame.

    Args:
        rate_hz: ticks per second, above zero.
        max_hold_seconds: the longest time for which one frame may be repeated.
        pace: finds gaps in these frames, over which no frame is repeated. With None frames are
            repeated over gaps.
    """

    def __init__(self, rate_hz: float, max_hold_seconds: float, pace: Pace | None = None) -> None:
        self._rate_hz, self._max_hold_seconds, self._pace = rate_hz, max_hold_seconds, pace
        self._tolerance = min(TOLERANCE_SECONDS, 0.25 / rate_hz)
        self._held: T | None = None
        self._start, self._ticks = 0.0, 0

    def push(self, frame: T) -> Iterator[T]:
        """Take the next frame and yield the frames of the ticks before it; exhaust the iterator."""
        held = self._held
        longest = self._max_hold_seconds
        if self._pace is not None:
            longest = min(longest, self._pace.longest_without_gap(1 / self._rate_hz))
        if held is None:
            self._start = frame.pts_seconds
        elif frame.pts_seconds - held.pts_seconds > longest:
            yield from self.finish()
            self._start, self._ticks = frame.pts_seconds, 0
        else:
            while self._next_tick + self._tolerance < frame.pts_seconds:
                yield held
                self._ticks += 1
        self._held = frame

    def finish(self) -> Iterator[T]:
        """Yield the frame of the last tick, if it is due; no more frames follow."""
        held = self._held
        if held is not None and self._next_tick <= held.pts_seconds + self._tolerance:
            yield held

    @property
    def _next_tick(self) -> float:
        return self._start + self._ticks / self._rate_hz
