"""Choose frames at a steady rate by their timestamps.

Ticks lie on the grid `start + k / rate_hz`, where `start` is the time of the first frame. Each
tick takes the picture that a viewer would see at that moment: the newest frame whose time is not
after the tick.

    frames   a    b  c       d         e
             |    |  |       |         |
    ticks    0      1      2      3      4
    result   a      b      c      d      d        (e comes after tick 4; the video ends there)

A source slower than `rate_hz` repeats its newest frame, because a network assumes a steady rate. No
frame is held for longer than `max_hold_seconds` nor, where its pace is watched, over a gap:
nothing is invented then, and the grid starts again at the next frame. Frames that share a timestamp
count as one, the last of them.
"""

from collections.abc import Iterable, Iterator

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

    A tick is settled when the first frame after it arrives, so a live source waits for one source
    frame at most.

    Args:
        frames: in presentation order: `pts_seconds` never falls.
        rate_hz: ticks per second, above zero; None passes every frame on.
        max_hold_seconds: the longest time for which one frame may be repeated.
        pace: watches these frames, so that none is held over a gap in it. With None frames are
            held over gaps.
    """
    if rate_hz is None:
        yield from frames
        return
    tolerance = min(TOLERANCE_SECONDS, 0.25 / rate_hz)
    held: T | None = None
    start, ticks = 0.0, 0
    for frame in frames:
        longest = max_hold_seconds
        if pace is not None:
            longest = min(longest, pace.longest_without_gap(1 / rate_hz))
        if held is None:
            start = frame.pts_seconds
        elif frame.pts_seconds - held.pts_seconds > longest:
            if start + ticks / rate_hz <= held.pts_seconds + tolerance:
                yield held
            start, ticks = frame.pts_seconds, 0
        else:
            while start + ticks / rate_hz + tolerance < frame.pts_seconds:
                yield held
                ticks += 1
        held = frame
    if held is not None and start + ticks / rate_hz <= held.pts_seconds + tolerance:
        yield held
