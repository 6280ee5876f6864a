"""Localisation as Charades judges it: which classes happen at 25 moments of each video.

The moments are those of the official script (`Charades_v1_localize.m`): (j - 1) / 25 of the video's
length for j = 1 … 25; a class happens at a moment that lies in one of its intervals, ends included.
"""

from collections.abc import Sequence

import numpy as np

from co3d.datasets.manifest import Segment, VideoEntry

MOMENTS = 25


def judge_moments(
    entry: VideoEntry,
    times_seconds: Sequence[float],
    frames_seconds: Sequence[float],
    interval_seconds: float,
) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
    """Which prediction answers for each moment of a video, and what is true then.

    Args:
        entry: with its segments, in seconds from the file's first frame.
        times_seconds: the moment that each prediction describes.
        frames_seconds: of all frames seen, on the same clock.
        interval_seconds: for which a frame is shown.

    Returns:
        For each of the 25 moments the index of the prediction nearest in time, and the classes.
    """
    origin_seconds = frames_seconds[0]
    start_seconds = entry.start_seconds or 0.0
    duration_seconds = frames_seconds[-1] + interval_seconds - origin_seconds
    if entry.end_seconds is not None:
        duration_seconds = entry.end_seconds - start_seconds
    moments = [index / MOMENTS * duration_seconds for index in range(MOMENTS)]
    truth = labels_at(entry.segments, [start_seconds + moment for moment in moments])
    return nearest([time - origin_seconds for time in times_seconds], moments), truth


def labels_at(
    segments: Sequence[Segment], moments_seconds: Sequence[float]
) -> tuple[tuple[int, ...], ...]:
    """Classes that happen at each moment, sorted."""
    return tuple(
        tuple(sorted({s.label for s in segments if s.start_seconds <= moment <= s.end_seconds}))
        for moment in moments_seconds
    )


def nearest(times_seconds: Sequence[float], moments_seconds: Sequence[float]) -> list[int]:
    """Index of the time nearest to each moment; the earlier of two that are as near."""
    times = np.asarray(times_seconds)
    return [int(np.abs(times - moment).argmin()) for moment in moments_seconds]
